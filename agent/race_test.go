//go:build race

package agent_test

// The race detector makes everything some ten times slower.
const usualHistories = 600
