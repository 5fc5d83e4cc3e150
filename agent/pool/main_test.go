package pool

import (
	"testing"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.Main(m) }
