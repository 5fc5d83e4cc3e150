package resource

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func reserve(list ...Resource) Operation {
	return Operation{Type: OpReserve, Reserve: &Reserve{Resources: list}}
}

func move(source, target []Resource) Operation {
	return Operation{Type: OpReserve, Reserve: &Reserve{Resources: target, Source: source}}
}

func unreserve(list ...Resource) Operation {
	return Operation{Type: OpUnreserve, Unreserve: &Unreserve{Resources: list}}
}

func create(list ...Resource) Operation {
	return Operation{Type: OpCreate, Create: &Create{Volumes: list}}
}

func destroy(list ...Resource) Operation {
	return Operation{Type: OpDestroy, Destroy: &Destroy{Volumes: list}}
}

func grow(v, addition Resource) Operation {
	return Operation{Type: OpGrowVolume, GrowVolume: &GrowVolume{Volume: v, Addition: addition}}
}

func shrink(v Resource, subtract Scalar) Operation {
	return Operation{Type: OpShrinkVolume, ShrinkVolume: &ShrinkVolume{Volume: v, Subtract: subtract}}
}

// launch is one task for each list of resources.
func launch(tasks ...[]Resource) Operation {
	o := Operation{Type: OpLaunch, Launch: &Launch{}}
	for i, list := range tasks {
		o.Launch.Tasks = append(o.Launch.Tasks, TaskInfo{ID: strings.Repeat("t", i+1), Resources: list})
	}
	return o
}

func launchGroup(executor []Resource, tasks ...[]Resource) Operation {
	group := &LaunchGroup{Executor: &ExecutorInfo{ID: "e", Resources: executor}, Tasks: launch(tasks...).Launch.Tasks}
	return Operation{Type: OpLaunchGroup, LaunchGroup: group}
}

func executed(executor, task []Resource) Operation {
	o := launch(task)
	o.Launch.Tasks[0].Executor = &ExecutorInfo{ID: "e", Resources: executor}
	return o
}

// refine is r reserved once more, dynamically.
func refine(r Resource, role string) Resource {
	return r.PushReservation(Reservation{Type: Dynamic, Role: role})
}

func TestOperationsConvertAsMesosConverts(t *testing.T) {
	t.Parallel()
	static := reserved(Reservation{Type: Static, Role: "eng"})
	cpus := mustText(t, "cpus:2")[0]
	v, w := disk(64, "eng").volume("v", "p"), sharedVolume(64, "w")
	mount := disk(64, "eng").on(SourceMount, "/d")
	labelled := disk(8, "").PushReservation(Reservation{Type: Dynamic, Role: "eng", Labels: []Label{{"k", nil}}})
	for name, c := range map[string]struct {
		have Set
		do   Operation
		want Set
	}{
		"RESERVE":                      {SetOf(disk(100, ""), cpus), reserve(disk(64, "eng")), SetOf(disk(36, ""), disk(64, "eng"), cpus)},
		"RESERVE of several":           {SetOf(disk(100, ""), cpus), reserve(disk(64, "eng"), refine(cpus, "eng")), SetOf(disk(36, ""), disk(64, "eng"), refine(cpus, "eng"))},
		"RESERVE with labels":          {SetOf(disk(8, ""), disk(8, "eng")), reserve(labelled), SetOf(labelled, disk(8, "eng"))},
		"RESERVE on top":               {SetOf(static), reserve(refine(static, "eng/ml")), SetOf(refine(static, "eng/ml"))},
		"RESERVE with a source":        {SetOf(disk(8, "a"), cpus), move([]Resource{disk(3, "a"), disk(2, "a")}, []Resource{disk(5, "b")}), SetOf(disk(3, "a"), disk(5, "b"), cpus)},
		"RESERVE out of nobody's":      {SetOf(disk(8, "")), move([]Resource{disk(5, "")}, []Resource{disk(5, "b")}), SetOf(disk(3, ""), disk(5, "b"))},
		"UNRESERVE":                    {SetOf(disk(64, "eng"), disk(8, "web")), unreserve(disk(24, "eng"), disk(8, "web")), SetOf(disk(40, "eng"), disk(32, ""))},
		"UNRESERVE off the top":        {SetOf(refine(static, "eng/ml")), unreserve(refine(static, "eng/ml")), SetOf(static)},
		"CREATE":                       {SetOf(disk(100, "eng")), create(v), SetOf(disk(36, "eng"), v)},
		"CREATE shared":                {SetOf(disk(100, "eng")), create(w), SetOf(disk(36, "eng"), w)},
		"CREATE of several":            {SetOf(disk(128, "eng")), create(v, w), SetOf(v, w)},
		"CREATE on a path":             {SetOf(disk(100, "eng").on(SourcePath, "/d")), create(v.on(SourcePath, "/d")), SetOf(disk(36, "eng").on(SourcePath, "/d"), v.on(SourcePath, "/d"))},
		"CREATE on a mount":            {SetOf(mount), create(mount.volume("v", "p")), SetOf(mount.volume("v", "p"))},
		"CREATE on a static one":       {SetOf(static), create(static.volume("v", "p")), SetOf(static.volume("v", "p"))},
		"DESTROY":                      {SetOf(v, disk(6, "eng")), destroy(v), SetOf(disk(70, "eng"))},
		"DESTROY shared":               {SetOf(w), destroy(w), SetOf(disk(64, "eng"))},
		"DESTROY by another path":      {SetOf(w), destroy(w.volume("w", "other").shared()), SetOf(disk(64, "eng"))},
		"DESTROY on a mount":           {SetOf(mount.volume("v", "p")), destroy(mount.volume("v", "p")), SetOf(mount)},
		"GROW_VOLUME":                  {SetOf(v, disk(100, "eng")), grow(v, disk(36, "eng")), SetOf(disk(100, "eng").volume("v", "p"), disk(64, "eng"))},
		"SHRINK_VOLUME":                {SetOf(v), shrink(v, 4*One), SetOf(disk(60, "eng").volume("v", "p"), disk(4, "eng"))},
		"LAUNCH of what is there":      {SetOf(w, w, cpus), launch([]Resource{w, cpus}, []Resource{w}), SetOf(w, w, cpus)},
		"LAUNCH of more copies":        {SetOf(w), launch([]Resource{w}, []Resource{use(w, "elsewhere")}, []Resource{w}), SetOf(w, w, w)},
		"LAUNCH without shared ones":   {SetOf(w, v), launch([]Resource{v}, nil), SetOf(w, v)},
		"LAUNCH_GROUP of more copies":  {SetOf(w), launchGroup(mustText(t, "cpus:1"), []Resource{w}, []Resource{w}), SetOf(w, w)},
		"LAUNCH with executor of cpus": {SetOf(w), executed(mustText(t, "cpus:1"), []Resource{w}), SetOf(w)},
	} {
		got, err := c.have.Apply(c.do)
		if err != nil || !got.Equal(c.want) {
			t.Errorf("%s: %s became %s, %v; want %s", name, c.have, got, err, c.want)
		}
		if amounts(got) != amounts(c.have) {
			t.Errorf("%s: amounts %s became %s", name, amounts(c.have), amounts(got))
		}
	}
}

// amounts is how much of everything a set has, whoever it is reserved to and whatever is
// made of it. Of ranges and sets it is the union, as Mesos asserts it.
func amounts(s Set) string {
	var unions Set
	var scalars []string
	for _, r := range s.Resources() {
		if r.Type == TypeScalar {
			total, _ := s.Quantity(r.Name)
			scalars = append(scalars, fmt.Sprintf("%q:%s", r.Name, total))
			continue
		}
		unions = unions.Add(Resource{Name: r.Name, Type: r.Type, Ranges: r.Ranges, Set: r.Set})
	}
	slices.Sort(scalars)
	return fmt.Sprint(slices.Compact(scalars), canonical(unions))
}

func TestOperationsThatDoNotApplyAreRefusedInMesosWords(t *testing.T) {
	t.Parallel()
	v, w := disk(64, "web").volume("v", "p"), disk(64, "web").volume("w", "p").shared()
	mount := disk(64, "web").on(SourceMount, "/d")
	provided := v.with(func(r *Resource) { r.Provider = "p1" })
	s := SetOf(disk(100, ""), disk(10, "web"), v, w, w, mount)
	static := reserved(Reservation{Type: Static, Role: "web"})
	const direct = "cannot be reserved or unreserved directly. Please destroy the persistent volume first then unreserve the resource"
	for name, c := range map[string]struct {
		do   Operation
		want string
	}{
		"RESERVE of too much":             {reserve(disk(101, "web")), s.String() + " does not contain disk:101"},
		"RESERVE of too much in two":      {reserve(disk(60, "web"), disk(60, "eng")), s.String() + " does not contain disk:120"},
		"RESERVE of what is static":       {reserve(static), "is not dynamically reserved"},
		"RESERVE of nobody's":             {reserve(disk(1, "")), "Resource disk:1 is not dynamically reserved"},
		"RESERVE of nothing":              {reserve(disk(0, "web")), "is empty"},
		"RESERVE of a volume":             {reserve(refine(v, "web/a")), direct},
		"RESERVE of something invalid":    {reserve(disk(1, "a//b")), "Invalid resources: Resource"},
		"RESERVE of a revocable":          {reserve(disk(1, "a").with(func(r *Resource) { r.Revocable = true })), "Invalid ReservationInfo: "},
		"RESERVE without a body":          {Operation{Type: OpReserve}, "'reserve' is not set"},
		"RESERVE from a source not there": {move([]Resource{disk(11, "web")}, []Resource{disk(11, "a")}), "does not contain disk(reservations: [(DYNAMIC,web)]):11"},
		"RESERVE from less":               {move([]Resource{disk(9, "web")}, []Resource{disk(10, "a")}), "Source and target resources should refer to identical resource quantities"},
		"RESERVE from another disk":       {move([]Resource{disk(9, "web")}, []Resource{disk(9, "a").on(SourcePath, "/d")}), "identical resource quantities"},
		"RESERVE from mixed sources":      {move([]Resource{disk(5, "web"), disk(5, "eng")}, []Resource{disk(10, "a")}), "Mixed reservations are not supported"},
		"RESERVE to mixed roles":          {move([]Resource{disk(10, "web")}, []Resource{disk(5, "web"), disk(5, "eng")}), "Mixed reservations are not supported"},
		"RESERVE from a volume":           {move([]Resource{v}, []Resource{disk(64, "a")}), direct},
		"RESERVE from something invalid":  {move([]Resource{disk(1, "a//b")}, []Resource{disk(1, "a")}), "Invalid source: Invalid resources: "},
		"RESERVE from nothing":            {move([]Resource{disk(0, "a")}, []Resource{disk(1, "a")}), "is empty"},
		"UNRESERVE of too much":           {unreserve(disk(11, "web")), "does not contain disk(reservations: [(DYNAMIC,web)]):11"},
		"UNRESERVE twice":                 {unreserve(disk(6, "web"), disk(6, "web")), "does not contain"},
		"UNRESERVE of what is static":     {unreserve(static), "is not dynamically reserved"},
		"UNRESERVE of a volume":           {unreserve(v), "A dynamically reserved persistent volume " + v.String() + " " + direct},
		"CREATE without room":             {create(disk(11, "web").volume("x", "p")), "does not contain disk(reservations: [(DYNAMIC,web)]):11"},
		"CREATE on part of a mount":       {create(disk(32, "web").on(SourceMount, "/d").volume("x", "p")), "does not contain"},
		"CREATE for another role":         {create(disk(1, "eng").volume("x", "p")), "does not contain"},
		"CREATE of what is no volume":     {create(disk(1, "web")), "Not a persistent volume: "},
		"CREATE of what is there":         {create(w), "Persistence ID 'w' is not unique"},
		"CREATE of a known id":            {create(disk(1, "web").volume("v", "p")), "Persistence ID 'v' is not unique"},
		"CREATE of an id twice":           {create(disk(1, "web").volume("x", "p"), disk(2, "web").volume("x", "p")), "Persistence ID 'x' is not unique"},
		"CREATE of nothing":               {create(disk(0, "web").volume("x", "p")), "is empty"},
		"CREATE unreserved":               {create(disk(1, "").volume("x", "p")), "Invalid DiskInfo: Persistent volumes cannot be created from unreserved resources"},
		"DESTROY with a second copy":      {destroy(w), "Persistent volume " + w.String() + " cannot be removed due to additional shared copies"},
		"DESTROY of another size":         {destroy(disk(63, "web").volume("v", "p")), "does not contain"},
		"DESTROY of another kind":         {destroy(v.shared()), "does not contain"},
		"DESTROY of what is no volume":    {destroy(disk(1, "web")), "Not a persistent volume: "},
		"DESTROY twice":                   {destroy(v, v), "does not contain"},
		"GROW_VOLUME by too much":         {grow(v, disk(11, "web")), "does not contain " + v.String() + "; disk(reservations: [(DYNAMIC,web)]):11"},
		"GROW_VOLUME by nothing":          {grow(v, disk(0, "web")), "The size of 'GrowVolume.addition' field must be greater than zero"},
		"GROW_VOLUME of nothing":          {grow(disk(0, "web").volume("x", "p"), disk(1, "web")), "is empty"},
		"GROW_VOLUME by nobody's":         {grow(v, disk(1, "")), "Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields"},
		"GROW_VOLUME on a mount":          {grow(mount.volume("x", "p"), mount), "Incompatible resources"},
		"GROW_VOLUME of a shared one":     {grow(w, disk(1, "web")), "Growing a shared persistent volume is not supported"},
		"GROW_VOLUME of a provider's":     {grow(provided, disk(1, "web")), "Growing a volume from a resource provider is not supported"},
		"GROW_VOLUME of what is none":     {grow(disk(1, "web"), disk(1, "web")), "Not a persistent volume"},
		"GROW_VOLUME beyond everything":   {grow(v, disk(0, "web").with(func(r *Resource) { r.Scalar = MaxScalar })), "are more than"},
		"SHRINK_VOLUME by nothing":        {shrink(v, 0), "Value of 'ShrinkVolume.subtract' must be greater than zero"},
		"SHRINK_VOLUME by less":           {shrink(v, -1), "must be greater than zero"},
		"SHRINK_VOLUME to nothing":        {shrink(v, 64*One), "Value of 'ShrinkVolume.subtract' must be smaller than the size of 'ShrinkVolume.volume'"},
		"SHRINK_VOLUME on a mount":        {shrink(mount.volume("x", "p"), One), "Shrinking a volume on a MOUNT disk is not supported"},
		"SHRINK_VOLUME of a shared one":   {shrink(w, One), "Shrinking a shared persistent volume is not supported"},
		"SHRINK_VOLUME of a provider's":   {shrink(provided, One), "Shrinking a volume from a resource provider is not supported"},
		"SHRINK_VOLUME of what is none":   {shrink(disk(10, "web"), One), "Not a persistent volume"},
		"SHRINK_VOLUME of an old size":    {shrink(disk(63, "web").volume("v", "p"), One), "does not contain"},
		"LAUNCH with an unknown volume":   {launch([]Resource{sharedVolume(1, "x")}), "does not contain disk(reservations: [(DYNAMIC,eng)])[x:p]<SHARED>:1<1>"},
		"LAUNCH with an executor's copy":  {executed([]Resource{w}, nil), "Executor resources " + SetOf(w).String() + " should not contain any shared resources"},
		"LAUNCH_GROUP with an executor's": {launchGroup([]Resource{w}, nil), "should not contain any shared resources"},
		"LAUNCH of what is invalid":       {launch([]Resource{disk(-1, "")}), "Invalid resources: "},
		"an operation that there is not":  {Operation{Type: "CALL"}, "is unknown"},
	} {
		got, err := s.Apply(c.do)
		refused(t, name, err, c.want)
		if !got.Equal(s) {
			t.Errorf("%s was refused and left %s", name, got)
		}
	}
}

// part is r, or if it can be divided perhaps less of it.
func part(t *rapid.T, r Resource) Resource {
	if r.Type == TypeScalar && !r.IsVolume() && !r.indivisible() {
		r.Scalar = Scalar(rapid.Int64Range(1, int64(r.Scalar)).Draw(t, "part"))
	}
	return r
}

// drawUndoable draws an operation that applies to s, and one that undoes it; ok is false
// when r gives no occasion for one.
func drawUndoable(t *rapid.T, s Set, r Resource) (do, undo Operation, ok bool) {
	if ValidateList([]Resource{r}) != nil {
		return do, undo, false
	}
	switch r = part(t, r); {
	case r.Shared && s.Count(r) == 1 && rapid.Bool().Draw(t, "destroy"), r.IsVolume() && !r.Shared && (r.indivisible() || r.Scalar < 2 || r.Provider != ""):
		return destroy(r), create(r), len(s.Filter(func(o Resource) bool { return o.IsVolume() && o.volumeName() == r.volumeName() }).Resources()) == 1
	case r.Shared:
		return do, undo, false
	case r.IsVolume():
		cut := Scalar(rapid.Int64Range(1, int64(r.Scalar)-1).Draw(t, "cut"))
		small, freed := r, r.StripVolume()
		small.Scalar, freed.Scalar = r.Scalar-cut, cut
		return shrink(r, cut), grow(small, freed), true
	case r.Name == "disk" && r.IsReserved() && !r.Revocable && rapid.Bool().Draw(t, "create"):
		v := r.volume("new", "p")
		v.Shared = rapid.Bool().Draw(t, "shared")
		return create(v), destroy(v), true
	case r.Revocable || r.Type != TypeScalar && s.AddSet(SetOf(refine(r, "eng"))).Len() == s.Len():
		return do, undo, false
	case r.IsReserved():
		r = refine(r, r.Role()+"/z")
		return reserve(r), unreserve(r), true
	}
	moved := refine(r, "zoo")
	if rapid.Bool().Draw(t, "by source") {
		return move([]Resource{r}, []Resource{moved}), unreserve(moved), true
	}
	return reserve(moved), unreserve(moved), true
}

func TestAnOperationAndItsInverseLeadBack(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := drawSet(t, anything).Add(drawResource(t, 2), drawVolume(t))
		r := rapid.SampledFrom(s.Resources()).Draw(t, "of")
		do, undo, ok := drawUndoable(t, s, r)
		if !ok {
			return
		}
		seen[do.Type]++
		done, err := s.Apply(do)
		if err != nil {
			t.Fatalf("%+v: %v", do, err)
		}
		if amounts(done) != amounts(s) {
			t.Fatalf("%+v made %s of %s", do, done, s)
		}
		back, err := done.Apply(undo)
		if err != nil || !back.Equal(s) {
			t.Fatalf("%+v made %s of %s; %+v made %s of it, %v", do, done, s, undo, back, err)
		}
	})
	for _, kind := range []string{OpReserve, OpCreate, OpDestroy, OpShrinkVolume} {
		if seen[kind] == 0 {
			t.Errorf("%s was never drawn", kind)
		}
	}
}

// drawAnyOperation draws an operation on resources as they come, most of which it cannot
// be done to.
func drawAnyOperation(t *rapid.T, pool []Resource) Operation {
	from := rapid.SampledFrom(pool)
	a, b := from.Draw(t, "a"), from.Draw(t, "b")
	list := []Resource{a, b}[:rapid.IntRange(1, 2).Draw(t, "named")]
	switch kind := rapid.SampledFrom(operationTypes).Draw(t, "type"); kind {
	case OpReserve:
		if rapid.Bool().Draw(t, "refine") {
			return reserve(refine(a, a.Role()+"/z"))
		}
		return Operation{Type: kind, Reserve: &Reserve{Resources: list, Source: rapid.SliceOfN(from, 0, 2).Draw(t, "source")}}
	case OpUnreserve:
		return unreserve(list...)
	case OpCreate:
		return create(list...)
	case OpDestroy:
		return destroy(list...)
	case OpGrowVolume:
		return grow(a, rapid.SampledFrom([]Resource{b, a.StripVolume()}).Draw(t, "addition"))
	case OpShrinkVolume:
		return shrink(a, rapid.SampledFrom(smallSizes).Draw(t, "subtract"))
	case OpLaunchGroup:
		return launchGroup([]Resource{b}, list, list)
	}
	return launch(list, []Resource{a})
}

func TestNoOperationChangesWhatThereIs(t *testing.T) {
	t.Parallel()
	applied := 0
	rapid.Check(t, func(t *rapid.T) {
		pool := drawPool(t)
		for _, r := range pool {
			pool = append(pool, r.StripVolume())
		}
		s := drawFrom(t, pool)
		before := s.String()
		do := drawAnyOperation(t, pool)
		done, err := s.Apply(do)
		if s.String() != before || err != nil && done.String() != before {
			t.Fatalf("%+v, %v: %s became %s and %s", do, err, before, s, done)
		}
		if amounts(done) != amounts(s) {
			t.Fatalf("%+v made %s of %s", do, done, s)
		}
		if err == nil {
			applied++
		}
	})
	if applied == 0 {
		t.Error("no operation applied")
	}
}

func TestALaunchHoldsACopyForEachTask(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := sharedVolume(8, "v")
		have, tasks := rapid.IntRange(1, 4).Draw(t, "copies"), rapid.IntRange(1, 6).Draw(t, "tasks")
		s := drawSet(t, anything).AddCopies(v, have)
		done, err := s.Apply(launch(make([][]Resource, 1)...))
		if err != nil || !done.Equal(s) {
			t.Fatalf("a task of nothing made %s of %s, %v", done, s, err)
		}
		var lists [][]Resource
		for range tasks {
			lists = append(lists, []Resource{use(v, rapid.SampledFrom(volPaths).Draw(t, "path"))})
		}
		done, err = s.Apply(launch(lists...))
		if err != nil || done.Count(v) != max(have, tasks) {
			t.Fatalf("%d tasks on %d copies hold %d, %v", tasks, have, done.Count(v), err)
		}
		for range done.Count(v) - have {
			done = done.Subtract(v)
		}
		if !done.Equal(s) {
			t.Fatalf("when they ended, %s was left of %s", done, s)
		}
	})
}
