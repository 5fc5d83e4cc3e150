package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tenon/agent/client"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestEveryKindHasAnExitCodeThatHelpExplains(t *testing.T) {
	t.Parallel()
	if len(exitCodes) != len(volume.Kinds()) {
		t.Errorf("there are %d kinds and %d exit codes", len(volume.Kinds()), len(exitCodes))
	}
	taken := map[int]error{}
	for _, kind := range volume.Kinds() {
		code, known := exitCodes[kind]
		if !known || code <= exitOK || code >= exitRunSelf {
			t.Errorf("%v has code %d", kind, code)
		}
		if other, is := taken[code]; is {
			t.Errorf("%v and %v have one code, %d", kind, other, code)
		}
		taken[code] = kind
		title := wire.NewProblem(kind, "").Title
		if got := exitMeanings()[code]; !strings.Contains(strings.ToLower(got), strings.ToLower(title)) {
			t.Errorf("code %d means %q, want %q in it", code, got, title)
		}
		if !strings.Contains(exitCodeText(), fmt.Sprintf("%3d  %s\n", code, exitMeanings()[code])) {
			t.Errorf("code %d is not in the text", code)
		}
	}
}

func TestErrorsHaveTheExitCodesOfTheirKinds(t *testing.T) {
	t.Parallel()
	told := &client.Error{Problem: wire.NewProblem(volume.ErrBusy, "why")}
	for want, err := range map[int]error{
		exitOK:     nil,
		exitFailed: errors.New("x"),
		exitUsage:  fmt.Errorf("y: %w", usageError{errors.New("x")}),
		6:          advice{fmt.Errorf("x: %w", told), []string{"next"}},
		42:         errors.Join(codeError{code: 42}, volume.ErrBusy),
	} {
		if got := exitCode(err); got != want {
			t.Errorf("exitCode(%v) = %d, want %d", err, got, want)
		}
	}
}

func TestAdviceFollowsTheSentenceOnLinesOfItsOwn(t *testing.T) {
	t.Parallel()
	problem := wire.NewProblem(volume.ErrInUse, "it is held")
	for n := range 12 {
		problem.Holders = append(problem.Holders, wire.Holder{Task: fmt.Sprintf("t%d", n), Targets: []string{"data"}})
	}
	err := adviseOn(&client.Error{Problem: problem}, "web/data")
	lines := strings.Split(err.Error(), "\n")
	const all = 1 + 10 + 1 + 1 // the sentence, ten holders, how many more, where to look
	if len(lines) != all || lines[0] != "it is held" || !strings.Contains(lines[11], "2 more") || lines[12] != "see: tenon explain web/data" {
		t.Errorf("got %q", lines)
	}
	if !errors.Is(err, volume.ErrInUse) || advise(err).Error() != err.Error() {
		t.Error("the advice hides the error, or is given twice")
	}
}

func TestAdviceIsGivenWhereSomethingCanBeDone(t *testing.T) {
	t.Parallel()
	for kind, want := range map[error]string{
		volume.ErrInsufficient: "tenon status", volume.ErrPending: "same command",
		volume.ErrJournal: "log", volume.ErrUnavailable: "tenon explain web/data", volume.ErrLost: "tenon explain web/data",
		volume.ErrNotFound: "tenon volume ls",
	} {
		if err := adviseOn(fmt.Errorf("x: %w", kind), "web/data"); !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q, want %q in it", kind, err, want)
		}
	}
	if err := adviseOnEnd(fmt.Errorf("x: %w", volume.ErrBusy)); !strings.Contains(err.Error(), "it is recorded") || !strings.Contains(err.Error(), "--lazy") {
		t.Errorf("of a mount that is busy: %q", err)
	}
	for _, err := range []error{nil, errors.New("x"), volume.ErrInvalid} {
		if adviseOn(err, "web/data") != err || advise(err) != err || adviseOnTask(err) != err || adviseOnEnd(err) != err {
			t.Errorf("%v is changed", err)
		}
	}
}
