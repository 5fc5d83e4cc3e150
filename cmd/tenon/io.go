package main

import (
	"fmt"
	"strconv"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

// parseThrottle reads [VOLUME:]KEY=RATE[,KEY=RATE]... It is read from the right, so that an id
// may hold colons.
func parseThrottle(spec string) (t wire.Throttle, err error) {
	rates := spec
	if i := strings.LastIndexByte(spec, ':'); i >= 0 {
		t.Volume, rates = spec[:i], spec[i+1:]
		if t.Volume == "" {
			return t, fmt.Errorf("io %q: the volume is missing; write [VOLUME:]read=RATE,write=RATE,riops=N,wiops=N", spec)
		}
	}
	for _, pair := range strings.Split(rates, ",") {
		key, value, _ := strings.Cut(pair, "=")
		if err := setRate(&t.Rate, key, value); err != nil {
			return t, fmt.Errorf("io %q: %w; write [VOLUME:]read=RATE,write=RATE,riops=N,wiops=N", spec, err)
		}
	}
	return t, nil
}

func setRate(r *wire.Rate, key, value string) (err error) {
	bytes := map[string]*resource.Bytes{"read": &r.Read, "write": &r.Write}[key]
	ops := map[string]*uint64{"riops": &r.ReadOps, "wiops": &r.WriteOps}[key]
	switch {
	case bytes != nil && *bytes == 0:
		if *bytes, err = resource.ParseBytes(value); err != nil || *bytes <= 0 {
			return fmt.Errorf("%s=%s is no rate such as 10MiB", key, value)
		}
	case ops != nil && *ops == 0:
		if *ops, err = strconv.ParseUint(value, 10, 32); err != nil || *ops == 0 {
			return fmt.Errorf("%s=%s is no number of operations", key, value)
		}
	case bytes != nil || ops != nil:
		return fmt.Errorf("%s is given twice", key)
	default:
		return fmt.Errorf("%q is none of read, write, riops and wiops", key)
	}
	return nil
}
