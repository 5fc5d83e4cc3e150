package access

import (
	"testing"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }
