package sys

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Getdents is getdents64(2): it fills buf with entries of dir from where the last
// call ended, for NextDirent to read. 0 is the end of the directory. It is not to be
// mixed with os.File's own reading of directories.
func Getdents(dir *os.File, buf []byte) (int, error) {
	var n int
	err := Retry(func() (err error) {
		n, err = unix.Getdents(int(dir.Fd()), buf)
		return err
	})
	runtime.KeepAlive(dir)
	return n, pathError("getdents64", dir, "", err)
}

// Dirent is an entry of a directory.
type Dirent struct {
	Name []byte // part of the buffer that it was read from
	Dir  bool   // it was a directory; false where the filesystem does not say
}

// Offsets in struct linux_dirent64.
const (
	direntReclen = 16
	direntType   = 18
	direntName   = 19
)

// NextDirent takes the first entry off what Getdents has read. "." and ".." are
// entries like any other. It ends with ok false at the end of the buffer.
func NextDirent(buf []byte) (d Dirent, rest []byte, ok bool) {
	if len(buf) < direntName {
		return Dirent{}, nil, false
	}
	size := int(binary.NativeEndian.Uint16(buf[direntReclen:]))
	if size < direntName || size > len(buf) {
		return Dirent{}, nil, false
	}
	name, _, _ := bytes.Cut(buf[direntName:size], []byte{0})
	return Dirent{Name: name, Dir: buf[direntType] == unix.DT_DIR}, buf[size:], true
}
