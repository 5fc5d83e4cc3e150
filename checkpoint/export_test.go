package checkpoint

// Idle waits for the work in the background, so that the order of a test's
// operations on its file system is always the same.
func (j *Journal) Idle() { j.background.Wait() }

// VerifyOn is Verify on another file system.
func VerifyOn(fs FS, dir string) (Report, error) { return verify(fs, dir) }
