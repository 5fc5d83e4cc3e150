package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// become executes the command in place of this process. It returns only where that cannot be,
// with the exit code of run and a sentence that says why.
func (s stage) become() (code int, err error) {
	path, err := exec.LookPath(s.command[0])
	if err == nil {
		return exitRunExec, s.notRun(path, syscall.Exec(path, s.command, s.environment()))
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitRunNone, s.notFound()
	}
	return exitRunExec, s.notRun(s.command[0], err)
}

// notFound says where a program was looked for: a path is one in the sandbox, where the task runs.
func (s stage) notFound() error {
	name := s.command[0]
	switch {
	case name == "":
		return errors.New("run: the command is empty; name a program after --")
	case filepath.IsAbs(name):
		return fmt.Errorf("run: there is no program %s; give the path of one, or a name to be looked for in PATH", clean(name))
	case strings.Contains(name, "/"):
		return fmt.Errorf("run: there is no program %s in sandbox %s, which is where the command runs; give an absolute path, or one beneath it", clean(name), clean(s.sandbox))
	}
	return fmt.Errorf("run: program %s is not found in PATH; give its path, or set PATH, which is %s", clean(name), clean(os.Getenv("PATH")))
}

// notRun says why a program that is there cannot be executed (execve(2)).
func (s stage) notRun(path string, err error) error {
	why := errors.Unwrap(err)
	if why == nil {
		why = err
	}
	info, _ := os.Stat(path) // of what cannot be looked at nothing more is known
	switch {
	case info != nil && info.IsDir():
		why = errors.New("it is a directory; name a program")
	case errors.Is(err, fs.ErrPermission) && onNoExec(path):
		why = errors.New("it lies on a mount where nothing can be run (noexec)")
	case errors.Is(err, fs.ErrPermission):
		why = fmt.Errorf("permission denied for %s; see who may execute it, and search the directories above: namei -l %s", s.as.who(), path)
	case errors.Is(err, fs.ErrNotExist):
		why = errors.New("the interpreter in its first line, or the loader that it asks for, is not there")
	case errors.Is(err, syscall.ENOEXEC):
		why = fmt.Errorf("it is no program of this host, and its first line names no interpreter (#!); a script is run by its shell: sh %s", path)
	}
	return fmt.Errorf("run: %s can't be run: %w", clean(path), why)
}

// onNoExec says whether a path is on a mount of which nothing can be executed.
func onNoExec(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_NOEXEC != 0
}

// who is the identity in a word.
func (id identity) who() string {
	if id.Name != "" {
		return "user " + clean(id.Name)
	}
	return "user " + strconv.Itoa(os.Geteuid())
}
