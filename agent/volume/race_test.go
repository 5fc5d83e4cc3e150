//go:build race

package volume

// The race detector makes everything some ten times slower.
const histories = 1500
