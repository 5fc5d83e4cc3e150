package resource

import (
	"errors"
	"strings"
	"testing"
)

// reserved is a disk of 1 MiB with the stack.
func reserved(stack ...Reservation) Resource {
	return Resource{Name: "disk", Type: TypeScalar, Scalar: One, Reservations: stack}
}

// with is r changed.
func (r Resource) with(change func(*Resource)) Resource {
	change(&r)
	return r
}

func TestValidateAnyResource(t *testing.T) {
	t.Parallel()
	static, dynamic := func(role string) Reservation { return Reservation{Type: Static, Role: role} },
		func(role string) Reservation { return Reservation{Type: Dynamic, Role: role} }
	ranges := func(list ...Range) Resource { return Resource{Name: "ports", Type: TypeRanges, Ranges: list} }
	set := func(items ...string) Resource { return Resource{Name: "tags", Type: TypeSet, Set: items} }
	for name, c := range map[string]struct {
		r        Resource
		fragment string
	}{
		"unreserved disk":                      {disk(1, ""), ""},
		"amount of zero":                       {disk(0, ""), ""},
		"largest amount":                       {disk(0, "").with(func(r *Resource) { r.Scalar = MaxScalar }), ""},
		"static reservation":                   {reserved(static("eng")), ""},
		"dynamic reservation":                  {reserved(dynamic("eng")), ""},
		"dynamic refinement of a static one":   {reserved(static("eng"), dynamic("eng/ml")), ""},
		"dynamic refinement of a dynamic one":  {reserved(dynamic("eng"), dynamic("eng/ml"), dynamic("eng/ml/x")), ""},
		"two ranges that touch":                {ranges(Range{5, 9}, Range{1, 4}), ""},
		"a range of the last number":           {ranges(Range{1<<64 - 1, 1<<64 - 1}), ""},
		"a set":                                {set("a", "b"), ""},
		"an exclusive volume":                  {disk(1, "eng").volume("v", "p"), ""},
		"a shared volume":                      {disk(1, "eng").volume("v", "p").shared(), ""},
		"a disk from a path":                   {disk(1, "").on(SourcePath, "/mnt/d1"), ""},
		"a disk from a mount":                  {disk(1, "").on(SourceMount, "/mnt/d2"), ""},
		"a disk from a block device":           {disk(1, "").on(SourceBlock, ""), ""},
		"no name":                              {Resource{Type: TypeScalar}, "Empty resource name"},
		"no type":                              {Resource{Name: "disk"}, "Invalid resource type"},
		"text":                                 {Resource{Name: "disk", Type: "TEXT"}, "Unsupported resource type TEXT"},
		"negative amount":                      {disk(-1, ""), "Invalid scalar resource: value <= 0"},
		"amount too large":                     {disk(0, "").with(func(r *Resource) { r.Scalar = MaxScalar + 1 }), "Invalid scalar resource: value is above"},
		"scalar with ranges":                   {disk(1, "").with(func(r *Resource) { r.Ranges = []Range{{1, 2}} }), "Invalid scalar resource"},
		"scalar with a set":                    {disk(1, "").with(func(r *Resource) { r.Set = []string{"a"} }), "Invalid scalar resource"},
		"range that ends before it begins":     {ranges(Range{2, 1}), "Invalid ranges resource: begin > end"},
		"ranges that overlap":                  {ranges(Range{5, 9}, Range{1, 5}), "Invalid ranges resource: overlapping"},
		"ranges with a scalar":                 {ranges(Range{1, 2}).with(func(r *Resource) { r.Scalar = 1 }), "Invalid ranges resource"},
		"ranges with a set":                    {ranges(Range{1, 2}).with(func(r *Resource) { r.Set = []string{"a"} }), "Invalid ranges resource"},
		"set with a double":                    {set("a", "b", "a"), "Invalid set resource: duplicated"},
		"set with a scalar":                    {set("a").with(func(r *Resource) { r.Scalar = 1 }), "Invalid set resource"},
		"set with ranges":                      {set("a").with(func(r *Resource) { r.Ranges = []Range{{1, 2}} }), "Invalid set resource"},
		"disk info on cpus":                    {disk(1, "").on(SourcePath, "/").with(func(r *Resource) { r.Name = "cpus" }), "DiskInfo should not be set for cpus resource"},
		"source of an unknown type":            {disk(1, "").on("UNKNOWN", ""), `Unsupported 'DiskInfo.Source.Type' "UNKNOWN"`},
		"block with a path":                    {disk(1, "").on(SourceBlock, "").with(func(r *Resource) { r.Disk.Source.Path = &Root{} }), "should not be set for BLOCK"},
		"raw with a mount":                     {disk(1, "").on(SourceRaw, "").with(func(r *Resource) { r.Disk.Source.Mount = &Root{} }), "should not be set for RAW"},
		"volume of an unknown mode":            {disk(1, "eng").volume("v", "p").with(func(r *Resource) { r.Disk.Volume.Mode = "WO" }), `Unsupported volume mode "WO"`},
		"reservation without a type":           {reserved(Reservation{Role: "eng"}), "Invalid reservation: unsupported type"},
		"reservation without a role":           {reserved(dynamic("")), "Role names cannot be the empty string"},
		"reservation to a bad role":            {reserved(dynamic("a//b")), "cannot contain two adjacent slashes"},
		"reservation to nobody":                {reserved(dynamic("*")), `Invalid reservation: role "*" cannot be reserved`},
		"static refinement":                    {reserved(static("eng"), static("eng/ml")), "Invalid refined reservation: A refined reservation cannot be STATIC"},
		"refinement to another role":           {reserved(static("eng"), dynamic("web")), "Invalid refined reservation: role 'web' is not a refinement of 'eng'"},
		"refinement to the same role":          {reserved(static("eng"), dynamic("eng")), "Invalid refined reservation"},
		"refinement to a role of like letters": {reserved(static("eng"), dynamic("engine")), "Invalid refined reservation"},
		"third refinement wrong":               {reserved(static("a"), dynamic("a/b"), dynamic("a/c")), "role 'a/c' is not a refinement of 'a/b'"},
		"shared cpus":                          {Resource{Name: "cpus", Type: TypeScalar, Scalar: One, Shared: true}, "Resource cpus cannot be shared"},
		"shared disk that is no volume":        {disk(1, "eng").shared(), "Only persistent volumes can be shared"},
		"shared disk with a source only":       {disk(1, "eng").on(SourcePath, "/").shared(), "Only persistent volumes can be shared"},
		"name of bad UTF-8":                    {Resource{Name: "d\xff", Type: TypeScalar}, "not valid UTF-8"},
		"principal of bad UTF-8":               {reserved(Reservation{Type: Dynamic, Role: "a", Principal: ptr("\xff")}), "not valid UTF-8"},
		"label of bad UTF-8":                   {reserved(Reservation{Type: Dynamic, Role: "a", Labels: []Label{{"k", ptr("\xff")}}}), "not valid UTF-8"},
		"root with a NUL":                      {disk(1, "").on(SourcePath, "/a\x00b"), "contains a NUL"},
		"id of bad UTF-8":                      {disk(1, "eng").volume("v\xff", "p"), "not valid UTF-8"},
		"container path of bad UTF-8":          {disk(1, "eng").volume("v", "p\xff"), "not valid UTF-8"},
	} {
		refused(t, name, c.r.Validate(), c.fragment)
	}
}

func TestValidateKeepsThePrintedForm(t *testing.T) {
	t.Parallel()
	err := disk(64, "web").shared().Validate()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	const printed = "disk(reservations: [(DYNAMIC,web)])<SHARED>:64"
	if e.Resource != printed || e.Reason != "Only persistent volumes can be shared" {
		t.Errorf("error about %q says %q", e.Resource, e.Reason)
	}
	if want := "Resource '" + printed + "' is invalid: Only persistent volumes can be shared"; err.Error() != want {
		t.Errorf("message %q, want Mesos' %q", err, want)
	}
}

func TestValidateDiskSpeaksMesosWords(t *testing.T) {
	t.Parallel()
	volume := disk(1, "eng").volume("v", "p")
	for name, c := range map[string]struct {
		r    Resource
		want string
	}{
		"no disk info":          {disk(1, ""), ""},
		"source only":           {disk(1, "").on(SourcePath, "/mnt/d1"), ""},
		"volume":                {volume, ""},
		"volume on a mount":     {disk(1, "eng").on(SourceMount, "/mnt/d2").volume("v", "p"), ""},
		"static reservation":    {reserved(Reservation{Type: Static, Role: "eng"}).volume("v", "p"), ""},
		"revocable volume":      {volume.with(func(r *Resource) { r.Revocable = true }), "Persistent volumes cannot be created from revocable resources"},
		"unreserved volume":     {disk(1, "").volume("v", "p"), "Persistent volumes cannot be created from unreserved resources"},
		"volume without a path": {volume.with(func(r *Resource) { r.Disk = &Disk{Persistence: r.Disk.Persistence} }), "Expecting 'volume' to be set for persistent volume"},
		"volume with a host path": {volume.with(func(r *Resource) {
			r.Disk = &Disk{Persistence: r.Disk.Persistence, Volume: &Volume{ContainerPath: "p", HostPath: ptr("/h"), Mode: RW}}
		}), "Expecting 'host_path' to be unset for persistent volume"},
		"empty id":      {disk(1, "eng").volume("", "p"), "Invalid persistence ID for persistent volume: ID must not be empty"},
		"id with slash": {disk(1, "eng").volume("a/b", "p"), "Invalid persistence ID for persistent volume: 'a/b' contains invalid characters"},
		"dots":          {disk(1, "eng").volume("..", "p"), "Invalid persistence ID for persistent volume: '..' is disallowed"},
		"long id": {disk(1, "eng").volume(strings.Repeat("x", 256), "p"),
			"Invalid persistence ID for persistent volume: ID must not be greater than 255 characters"},
		"volume without an id": {volume.with(func(r *Resource) { r.Disk = &Disk{Volume: r.Disk.Volume} }), "Non-persistent volume not supported"},
		"empty disk info":      {disk(1, "").with(func(r *Resource) { r.Disk = &Disk{} }), "DiskInfo is set but empty"},
	} {
		err := c.r.ValidateDisk()
		if c.want == "" && err == nil {
			continue
		}
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want exactly %q", name, err, c.want)
		}
		var e *Error
		if errors.As(err, &e) && e.Resource != c.r.String() {
			t.Errorf("%s: error is about %q, want %q", name, e.Resource, c.r)
		}
	}
}

func TestValidateDiskReportsTheFirstFaultInMesosOrder(t *testing.T) {
	t.Parallel()
	r := disk(1, "")
	r.Revocable, r.Disk = true, &Disk{Persistence: &Persistence{ID: ".."}}
	steps := []struct {
		want string
		fix  func()
	}{
		{"revocable", func() { r.Revocable = false }},
		{"unreserved", func() { r.Reservations = []Reservation{{Type: Dynamic, Role: "eng"}} }},
		{"'volume' to be set", func() { r.Disk.Volume = &Volume{ContainerPath: "p", HostPath: ptr("/h"), Mode: RW} }},
		{"'host_path' to be unset", func() { r.Disk.Volume.HostPath = nil }},
		{"disallowed", func() { r.Disk.Persistence.ID = "v" }},
		{"", nil},
	}
	for _, step := range steps {
		refused(t, "after the faults before "+step.want, r.ValidateDisk(), step.want)
		if step.fix != nil {
			step.fix()
		}
	}
}

func TestValidateListGoesCheckByCheck(t *testing.T) {
	t.Parallel()
	gpus := Resource{Name: "gpus", Type: TypeScalar, Scalar: 1500}
	revocable := disk(1, "eng").with(func(r *Resource) { r.Revocable = true })
	badDisk := disk(1, "").with(func(r *Resource) { r.Disk = &Disk{} })
	steps := []struct {
		list []Resource
		want string
	}{
		{nil, ""},
		{[]Resource{disk(1, "eng"), disk(1, "eng").volume("v", "p")}, ""},
		{[]Resource{gpus.with(func(r *Resource) { r.Scalar = 2 * One })}, ""},
		{[]Resource{disk(1, "").with(func(r *Resource) { r.Revocable = true })}, ""},
		{[]Resource{revocable, badDisk, gpus, disk(-1, "")}, "Invalid resources: Resource 'disk:-1' is invalid: Invalid scalar resource"},
		{[]Resource{revocable, badDisk, gpus}, "Invalid 'gpus' resource: "},
		{[]Resource{revocable, badDisk}, "Invalid DiskInfo: DiskInfo is set but empty"},
		{[]Resource{disk(1, ""), revocable}, "Invalid ReservationInfo: "},
	}
	for _, step := range steps {
		refused(t, SetOf(step.list...).String(), ValidateList(step.list), step.want)
	}
}
