package checkpoint

import (
	"errors"
	"fmt"
	"path/filepath"
)

// Errors on which callers decide.
var (
	// ErrLocked says that another process, or another Journal of this one, has the
	// directory open.
	ErrLocked = errors.New("journal is in use")
	// ErrFailed says that a write or an fdatasync failed before. What the disk holds
	// is unknown then (the kernel may have dropped the dirty pages), so the journal
	// refuses everything until it is opened anew.
	ErrFailed = errors.New("journal failed and must be reopened")
	// ErrDamaged is matched by every *DamageError.
	ErrDamaged = errors.New("journal is damaged")
	// ErrVersion says that a file was written by a newer version of Tenon.
	ErrVersion = errors.New("journal has a newer format")
	// ErrTooLarge says that a transaction has more than 64 MiB.
	ErrTooLarge = errors.New("transaction is too large")
)

// DamageError says that the journal has lost or altered something which it once
// acknowledged. Nothing was changed on disk.
type DamageError struct {
	File   string // path of the damaged or missing file
	Offset int64  // where in the file, in bytes
	Reason string
}

// Error names the file, the offset, the reason and the command that inspects them.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: %s at offset %d: %s (inspect it with: tenon checkpoint verify %s)",
		ErrDamaged, e.File, e.Offset, e.Reason, filepath.Dir(e.File))
}

// Is makes errors.Is(err, ErrDamaged) true.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }
