package main

import (
	"errors"
	"strings"
	"testing"

	"tenon/agent/client"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestErrorsAreToldAsTheyWereAskedFor(t *testing.T) {
	t.Parallel()
	told := &client.Error{Problem: wire.NewProblem(volume.ErrInUse, "somebody has it")}
	advised := advice{told, []string{"ask them"}}
	for name, tc := range map[string]struct {
		err  error
		want []string
	}{
		"for people":       {advised, []string{"tenon: somebody has it\nask them\n"}},
		"nothing to tell":  {codeError{code: 3}, nil},
		"nothing, in JSON": {problemError{codeError{code: 3}}, nil},
		"of the agent":     {problemError{advised}, []string{`"kind": "in_use"`, `"detail": "somebody has it"`, `"status": 409`}},
		"of the command":   {problemError{usageError{errors.New("no\nusage: so")}}, []string{`"kind": "invalid"`, `"detail": "no; usage: so"`}},
		"with a kind":      {problemError{&volume.Error{Kind: volume.ErrNotFound, Message: "none"}}, []string{`"kind": "not_found"`}},
		"without a kind":   {problemError{errors.New("x")}, []string{`"kind": "failed"`, `"detail": "x"`}},
	} {
		var b strings.Builder
		tellError(&b, tc.err)
		for _, want := range tc.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: got %q, want %q in it", name, b.String(), want)
			}
		}
		if len(tc.want) == 0 && b.Len() > 0 {
			t.Errorf("%s: got %q", name, b.String())
		}
	}
	if code := exitCode(problemError{advised}); code != exitCodes[volume.ErrInUse] {
		t.Errorf("told in JSON it ends with code %d", code)
	}
}
