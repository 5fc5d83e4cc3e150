//go:build !race

package agent_test

const usualHistories = 3000
