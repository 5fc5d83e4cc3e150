package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

func TestLimitsOfInputAndOutputAreRead(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]wire.Throttle{
		"read=10MiB,write=5MiB,riops=100,wiops=50": {Rate: wire.Rate{Read: 10 * resource.MiB, Write: 5 * resource.MiB, ReadOps: 100, WriteOps: 50}},
		"write=1GiB":               {Rate: wire.Rate{Write: 1024 * resource.MiB}},
		"web/data:riops=1":         {Volume: "web/data", Rate: wire.Rate{ReadOps: 1}},
		"web/a:b=c:riops=1,read=1": {Volume: "web/a:b=c", Rate: wire.Rate{ReadOps: 1, Read: resource.MiB}},
	} {
		got, err := parseThrottle(spec)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", spec, err, d)
		}
	}
}

func TestLimitsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"", "read", "read=", "read=0", "read=-1MiB", "riops=0", "riops=1.5", "wiops=-1", "wiops=99999999999",
		"speed=1", "read=1,read=2", "riops=1,riops=1", "read=1,,write=1", ":read=1", "web/data:", "web/data", "read=1;write=1"} {
		if got, err := parseThrottle(spec); err == nil {
			t.Errorf("%q is %+v", spec, got)
		}
	}
}
