package etcd

import (
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/master"
	"tenon/agent/resource"
	"tenon/agent/wire"
)

func TestOfEachValueAsMuchIsWrittenAsAKeyCanHold(t *testing.T) {
	t.Parallel()
	long := func(bytes int) string { return strings.Repeat("x", bytes) }
	resourceOf := func(bytes int) resource.Resource {
		return resource.Resource{Name: "disk" + long(bytes), Type: resource.TypeScalar, Scalar: resource.One}
	}
	holders := func(count, bytes int) []wire.Holder {
		list := make([]wire.Holder, count)
		for i := range list {
			list[i].Task = long(bytes)
		}
		return list
	}
	reservations, disks := []wire.Reservation{{Disk: "d", Resource: resourceOf(maxValue)}}, []wire.Disk{{Name: long(maxValue)}}
	type forms = iter.Seq[form]
	for name, tc := range map[string]struct {
		forms forms
		lacks string // up to the colon
	}{
		"a small status":                   {statusForms(wire.Status{}), ""},
		"a status of many reservations":    {statusForms(wire.Status{Reservations: reservations}), "k is without its reservations"},
		"a status of many disks":           {statusForms(wire.Status{Reservations: reservations, Disks: disks}), "k is without its reservations, disks and faults"},
		"a small volume":                   {volumeForms(wire.Volume{Resource: resourceOf(1), Holders: holders(500, 1)}), ""},
		"a volume of many holders":         {volumeForms(wire.Volume{Resource: resourceOf(1), Holders: holders(501, 1)}), "k is without its holders after the first 500"},
		"a volume of many labels":          {volumeForms(wire.Volume{Resource: resourceOf(maxValue)}), "k is without its resource"},
		"a volume of many of both":         {volumeForms(wire.Volume{Resource: resourceOf(maxValue), Holders: holders(501, 1)}), "k is without its holders after the first 500 and resource"},
		"a volume of a large holder":       {volumeForms(wire.Volume{Resource: resourceOf(1), Holders: holders(1, maxValue)}), "k is without its holders and resource"},
		"a small task":                     {taskForms(wire.Task{Attachments: []wire.Attachment{{}}}), ""},
		"a task of many attachments":       {taskForms(wire.Task{Attachments: []wire.Attachment{{Path: long(maxValue)}}}), "k is without its attachments"},
		"a result with a long message":     {resultForms(master.Result{Message: long(maxValue)}), "k is without its message"},
		"a result that says little":        {resultForms(master.Result{Message: "no"}), ""},
		"a result that is escaped":         {resultForms(master.Result{Message: strings.Repeat("\x00\xff", maxValue)}), "k is without its message"},
		"as much as fits, and not one off": {whole(long(maxValue - 2)), ""},
		"a part although as much fits": {func(yield func(form) bool) {
			_ = yield(form{value: long(maxValue - 1)}) && yield(form{"", "rest"})
		}, "k is without its rest"},
	} {
		data, lacks, err := fit("k", tc.forms)
		said, numbers, measured := strings.Cut(lacks, ": ")
		if said != tc.lacks || err != nil || len(data) > maxValue {
			t.Errorf("%s: %d bytes, lacks %q, %v; want %q", name, len(data), lacks, err, tc.lacks)
		}
		if measured && !strings.HasSuffix(numbers, "bytes, and 1048576 are allowed") {
			t.Errorf("%s: lacks %q; want how much it has", name, lacks)
		}
		if truncated := strings.Contains(string(data), `"truncated":true`); truncated != (lacks != "") && !strings.Contains(name, "as much") {
			t.Errorf("%s: truncated %v, lacks %q", name, truncated, lacks)
		}
	}
}

func TestAResultThatIsCutHasTheBeginningOfItsMessage(t *testing.T) {
	t.Parallel()
	data, _, err := fit("k", resultForms(master.Result{ID: "one", State: master.OperationError, Kind: "invalid", Message: "no: " + strings.Repeat("\u00e4", maxValue)}))
	want := `{"id":"one","state":"OPERATION_ERROR","kind":"invalid","message":"no: ` + strings.Repeat("\u00e4", (maxText-4)/2) + `","truncated":true}`
	if diff := cmp.Diff(want, string(data)); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
}
