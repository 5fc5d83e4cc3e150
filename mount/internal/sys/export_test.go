package sys

// What the tests see of the inside; they are a package of their own, since
// mounttest imports this one.
var (
	OpenFD      = openFD
	DecodeMount = decodeMount
)

const (
	ListBatch         = listBatch
	StatmountStrings  = statmountStrings
	StatmountAll      = statmountAll
	StatmountSbBasic  = statmountSbBasic
	StatmountMntBasic = statmountMntBasic
	StatmountMntRoot  = statmountMntRoot
)

// NewFeature is a feature with a probe of the test's own.
func NewFeature(name string, probe func() (has, sure bool)) *Feature {
	return &Feature{Name: name, probe: probe}
}
