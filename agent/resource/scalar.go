package resource

// Bytes is an amount of space in bytes.
type Bytes int64

// MiB is Mesos' megabyte: 2^20 bytes.
const MiB Bytes = 1 << 20

// Scalar is a fixed-point amount with three decimals (spec.md 2.1); of disk, in MiB.
type Scalar int64

// One is the scalar 1.
const One Scalar = 1000
