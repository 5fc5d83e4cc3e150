package checkpoint_test

import (
	"testing"

	"tenon/mount/mounttest"
)

// TestMain fails if a journal left a goroutine behind.
func TestMain(m *testing.M) { mounttest.MainInPlace(m) }
