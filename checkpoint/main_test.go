package checkpoint_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if a journal left a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
