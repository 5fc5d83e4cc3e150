package resource

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Bytes is an amount of space in bytes.
type Bytes int64

// MiB is Mesos' megabyte: 2^20 bytes.
const MiB Bytes = 1 << 20

// units are the powers of 1024 by the letter that people write.
var units = []struct {
	letter string
	size   Bytes
}{
	{"T", 1 << 40},
	{"G", 1 << 30},
	{"M", MiB},
	{"K", 1 << 10},
}

// ParseBytes reads a size as people write it: "100GiB", "512M", "1.5 GiB", "4096B". A
// plain number is in Mesos' megabytes (2^20 bytes). K, M, G and T, with or without
// "iB" and in either case, are powers of 1024; a fraction of a byte is cut off. Its
// errors match ErrInvalid.
func ParseBytes(s string) (Bytes, error) {
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, ok := unitSize(s[len(number):])
	if !ok {
		return 0, invalidf("size %s: unit %s is none of B, K, M, G, T, KiB, MiB, GiB, TiB", shorten(s), shorten(s[len(number):]))
	}
	b, ok := scaleDecimal(strings.TrimSpace(number), unit)
	if !ok {
		return 0, invalidf("size %s is not a number of up to six decimals below 8 EiB", shorten(s))
	}
	return b, nil
}

func unitSize(unit string) (Bytes, bool) {
	unit = strings.ToUpper(unit)
	switch unit {
	case "":
		return MiB, true
	case "B":
		return 1, true
	}
	for _, u := range units {
		if unit == u.letter || unit == u.letter+"IB" {
			return u.size, true
		}
	}
	return 0, false
}

// scaleDecimal is number × unit, rounded down.
func scaleDecimal(number string, unit Bytes) (Bytes, bool) {
	const decimals = 6 // a millionth of the largest unit still fits 64 bits
	whole, fraction, hasPoint := strings.Cut(number, ".")
	if !isDigits(whole) || hasPoint && !isDigits(fraction) || len(fraction) > decimals {
		return 0, false
	}
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil {
		return 0, false
	}
	millionths, err := strconv.ParseUint((fraction + "000000")[:decimals], 10, 64)
	if err != nil {
		return 0, false
	}
	high, low := bits.Mul64(n, uint64(unit))
	sum, carry := bits.Add64(low, millionths*uint64(unit)/1e6, 0)
	if high != 0 || carry != 0 || sum > math.MaxInt64 {
		return 0, false
	}
	return Bytes(sum), true
}

// String is the size as people read it, cut to two decimals: "2 GiB", "1.5 GiB", "512 B".
// It never shows more than there is.
func (b Bytes) String() string {
	for _, u := range units {
		if b >= u.size {
			hundredths := b % u.size * 100 / u.size
			text := fmt.Sprintf("%d.%02d", b/u.size, hundredths)
			return strings.TrimRight(strings.TrimRight(text, "0"), ".") + " " + u.letter + "iB"
		}
	}
	return strconv.FormatInt(int64(b), 10) + " B"
}

// Bytes is the amount of disk that s, in MiB, stands for, rounded down; never more
// than an int64 holds (which no scalar up to MaxScalar exceeds), nor below zero.
func (s Scalar) Bytes() Bytes {
	if s <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(s), uint64(MiB))
	if high >= uint64(One) {
		return math.MaxInt64
	}
	b, _ := bits.Div64(high, low, uint64(One))
	return Bytes(min(b, math.MaxInt64))
}

// Scalar is b in MiB, rounded up to the next thousandth, so that s.Bytes().Scalar() is
// s for every scalar whose bytes fit. A negative amount counts as none.
func (b Bytes) Scalar() Scalar {
	if b <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(b), uint64(One))
	milli, rest := bits.Div64(high, low, uint64(MiB))
	if rest > 0 {
		milli++
	}
	return Scalar(milli)
}
