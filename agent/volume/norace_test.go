//go:build !race

package volume

const histories = 20000
