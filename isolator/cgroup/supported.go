package cgroup

// Supported is nil where a Manager can be opened as far as the host goes, and ErrUnsupported
// with the reason where not. It makes nothing.
func Supported() error {
	_, err := detect()
	return err
}
