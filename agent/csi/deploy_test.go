package csi

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/scanner"

	yaml "go.yaml.in/yaml/v3"
)

// The types of what deploy/kubernetes has, with the fields that it uses. Decoding is strict:
// a field that is misspelt, or in the wrong place, is an error.
type (
	head struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Metadata   struct {
			Name, Namespace string
			Labels          map[string]string
		}
	}
	csiDriver struct {
		head `yaml:",inline"`
		Spec struct {
			AttachRequired       *bool    `yaml:"attachRequired"`
			PodInfoOnMount       *bool    `yaml:"podInfoOnMount"`
			StorageCapacity      *bool    `yaml:"storageCapacity"`
			FSGroupPolicy        string   `yaml:"fsGroupPolicy"`
			VolumeLifecycleModes []string `yaml:"volumeLifecycleModes"`
		}
	}
	plain struct {
		head `yaml:",inline"`
	} // a Namespace, a ServiceAccount
	roleRef struct {
		APIGroup string `yaml:"apiGroup"`
		Kind     string
		Name     string
	}
	role struct {
		head  `yaml:",inline"`
		Rules []struct {
			APIGroups        []string `yaml:"apiGroups"`
			Resources, Verbs []string
		}
	}
	binding struct {
		head     `yaml:",inline"`
		Subjects []struct{ Kind, Name, Namespace string }
		RoleRef  roleRef `yaml:"roleRef"`
	}
	storageClass struct {
		head              `yaml:",inline"`
		Provisioner       string
		VolumeBindingMode string `yaml:"volumeBindingMode"`
		Expansion         bool   `yaml:"allowVolumeExpansion"`
		ReclaimPolicy     string `yaml:"reclaimPolicy"`
		Parameters        map[string]string
	}
	claim struct {
		head `yaml:",inline"`
		Spec struct {
			StorageClassName string   `yaml:"storageClassName"`
			AccessModes      []string `yaml:"accessModes"`
			Resources        struct{ Requests map[string]string }
		}
	}
	podSpec struct {
		ServiceAccountName string            `yaml:"serviceAccountName"`
		NodeSelector       map[string]string `yaml:"nodeSelector"`
		SecurityContext    struct {
			RunAsUser int64 `yaml:"runAsUser"`
			FSGroup   int64 `yaml:"fsGroup"`
		} `yaml:"securityContext"`
		Containers []struct {
			Name, Image   string
			Args, Command []string
			Env           []struct {
				Name      string
				ValueFrom struct {
					FieldRef struct {
						FieldPath string `yaml:"fieldPath"`
					} `yaml:"fieldRef"`
				} `yaml:"valueFrom"`
			}
			SecurityContext struct {
				RunAsUser int64 `yaml:"runAsUser"`
			} `yaml:"securityContext"`
			VolumeMounts []struct {
				Name      string
				MountPath string `yaml:"mountPath"`
			} `yaml:"volumeMounts"`
		}
		Volumes []struct {
			Name     string
			HostPath struct{ Path, Type string } `yaml:"hostPath"`
			Claim    struct {
				ClaimName string `yaml:"claimName"`
				ReadOnly  bool   `yaml:"readOnly"`
			} `yaml:"persistentVolumeClaim"`
		}
	}
	pod struct {
		head `yaml:",inline"`
		Spec podSpec
	}
	workload struct {
		head `yaml:",inline"`
		Spec struct {
			Replicas int
			Strategy struct{ Type string }
			Selector struct {
				MatchLabels map[string]string `yaml:"matchLabels"`
			}
			Template struct {
				Metadata struct{ Labels map[string]string }
				Spec     podSpec
			}
		}
	}
)

// kinds are the API version of each kind, and its type here.
var kinds = map[string]struct {
	version string
	make    func() any
}{
	"CSIDriver":             {"storage.k8s.io/v1", func() any { return &csiDriver{} }},
	"StorageClass":          {"storage.k8s.io/v1", func() any { return &storageClass{} }},
	"Namespace":             {"v1", func() any { return &plain{} }},
	"ServiceAccount":        {"v1", func() any { return &plain{} }},
	"ClusterRole":           {"rbac.authorization.k8s.io/v1", func() any { return &role{} }},
	"Role":                  {"rbac.authorization.k8s.io/v1", func() any { return &role{} }},
	"ClusterRoleBinding":    {"rbac.authorization.k8s.io/v1", func() any { return &binding{} }},
	"RoleBinding":           {"rbac.authorization.k8s.io/v1", func() any { return &binding{} }},
	"DaemonSet":             {"apps/v1", func() any { return &workload{} }},
	"Deployment":            {"apps/v1", func() any { return &workload{} }},
	"PersistentVolumeClaim": {"v1", func() any { return &claim{} }},
	"Pod":                   {"v1", func() any { return &pod{} }},
}

// strict decodes one document and nothing that its type does not have.
func strict(document []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(document))
	d.KnownFields(true)
	return d.Decode(into)
}

// objects decodes all manifests, by kind and name.
func objects(t *testing.T) map[string]any {
	t.Helper()
	files, err := filepath.Glob("deploy/kubernetes/*.yaml")
	must(t, err)
	all := map[string]any{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			var h head
			must(t, yaml.Unmarshal(document, &h))
			kind, known := kinds[h.Kind]
			if !known || kind.version != h.APIVersion {
				t.Fatalf("%s has a %s of %s", file, h.Kind, h.APIVersion)
			}
			o := kind.make()
			if err := strict(document, o); err != nil {
				t.Errorf("%s, %s %s: %v", file, h.Kind, h.Metadata.Name, err)
			}
			all[h.Kind+"/"+h.Metadata.Name] = o
		}
	}
	return all
}

func TestStrictDecodingFindsAMisspeltField(t *testing.T) {
	t.Parallel()
	if err := strict([]byte("kind: Pod\nspec:\n  container: []\n"), &pod{}); err == nil {
		t.Error("spec.container was taken")
	}
	if err := strict([]byte("kind: StorageClass\nvolumebindingMode: x\n"), &storageClass{}); err == nil {
		t.Error("volumebindingMode was taken")
	}
}

func TestTheManifestsAreOfTheDriverAndOfEachOther(t *testing.T) {
	t.Parallel()
	all := objects(t)
	d := all["CSIDriver/"+Driver].(*csiDriver)
	if *d.Spec.AttachRequired || !*d.Spec.StorageCapacity {
		t.Errorf("driver is %+v", d.Spec)
	}
	sc := all["StorageClass/tenon-web"].(*storageClass)
	if p, err := parse(sc.Parameters); err != nil || p.role == "" {
		t.Errorf("parameters %v: %+v, %v", sc.Parameters, p, err)
	}
	if sc.Provisioner != Driver || sc.VolumeBindingMode != "WaitForFirstConsumer" {
		t.Errorf("storage class is %+v", sc)
	}
	c := all["PersistentVolumeClaim/greetings"].(*claim)
	if all["StorageClass/"+c.Spec.StorageClassName] == nil || !slices.Equal(c.Spec.AccessModes, []string{"ReadWriteOnce"}) {
		t.Errorf("claim is %+v", c.Spec)
	}
	for _, name := range []string{"writer", "reader"} {
		v := all["Pod/"+name].(*pod).Spec.Volumes[0]
		if v.Claim.ClaimName != "greetings" || v.Claim.ReadOnly != (name == "reader") {
			t.Errorf("pod %s has %+v", name, v)
		}
	}
	for name, o := range all {
		switch o := o.(type) {
		case *binding:
			if all[o.RoleRef.Kind+"/"+o.RoleRef.Name] == nil || all[o.Subjects[0].Kind+"/"+o.Subjects[0].Name] == nil {
				t.Errorf("%s binds what there is not: %+v", name, o)
			}
		case *workload:
			checkWorkload(t, all, name, o)
		}
	}
}

// checkWorkload holds a workload against what it refers to.
func checkWorkload(t *testing.T, all map[string]any, name string, w *workload) {
	t.Helper()
	spec := w.Spec.Template.Spec
	if fmt.Sprint(w.Spec.Selector.MatchLabels) != fmt.Sprint(w.Spec.Template.Metadata.Labels) {
		t.Errorf("%s selects %v and makes %v", name, w.Spec.Selector.MatchLabels, w.Spec.Template.Metadata.Labels)
	}
	if all["ServiceAccount/"+spec.ServiceAccountName] == nil || all["Namespace/"+w.Metadata.Namespace] == nil {
		t.Errorf("%s has service account %s in %s, which there is not", name, spec.ServiceAccountName, w.Metadata.Namespace)
	}
	for _, c := range spec.Containers {
		if !slices.Contains(c.Args, "--csi-address="+c.VolumeMounts[0].MountPath+"/csi.sock") {
			t.Errorf("%s: %v does not use the socket at %s", name, c.Args, c.VolumeMounts[0].MountPath)
		}
	}
	if want := "/var/lib/kubelet/plugins/" + Driver; spec.Volumes[0].HostPath.Path != want {
		t.Errorf("%s has the socket in %s, want %s", name, spec.Volumes[0].HostPath.Path, want)
	}
}

// section is a block of HCL as far as these files use it: values and blocks.
type section struct {
	name   string // with its labels
	values map[string]string
	blocks []*section
}

// at finds the blocks with a name, at any depth.
func (b *section) at(name string) (found []*section) {
	for _, c := range b.blocks {
		if c.name == name {
			found = append(found, c)
		}
		found = append(found, c.at(name)...)
	}
	return found
}

// readHCL reads the syntax that the files keep to: `name = value`, where a value is a text, a
// number, a word or a list of them, and `name "label" { ... }`.
func readHCL(text string) (*section, error) {
	var s scanner.Scanner
	s.Init(strings.NewReader(dropComments(text)))
	s.Mode = scanner.ScanIdents | scanner.ScanInts | scanner.ScanStrings
	var bad error
	s.Error = func(s *scanner.Scanner, msg string) { bad = fmt.Errorf("%s: %s", s.Pos(), msg) }
	root, err := readBody(&s, "", scanner.EOF)
	return root, errors.Join(err, bad)
}

func dropComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func readBody(s *scanner.Scanner, name string, end rune) (*section, error) {
	b := &section{name: name, values: map[string]string{}}
	for {
		token := s.Scan()
		if token == end {
			return b, nil
		}
		if token != scanner.Ident && token != scanner.String {
			return nil, fmt.Errorf("%s: %q begins neither a value nor a block", s.Pos(), s.TokenText())
		}
		key := strings.Trim(s.TokenText(), `"`)
		token = s.Scan()
		for ; token == scanner.String; token = s.Scan() {
			key += " " + strings.Trim(s.TokenText(), `"`)
		}
		switch token {
		case '{':
			inner, err := readBody(s, key, '}')
			if err != nil {
				return nil, err
			}
			b.blocks = append(b.blocks, inner)
		case '=':
			value, err := readValue(s)
			if _, twice := b.values[key]; err != nil || twice {
				return nil, errors.Join(err, fmt.Errorf("%s: %s, perhaps twice", s.Pos(), key))
			}
			b.values[key] = value
		default:
			return nil, fmt.Errorf("%s: %s is followed by %q", s.Pos(), key, s.TokenText())
		}
	}
}

func readValue(s *scanner.Scanner) (string, error) {
	switch s.Scan() {
	case scanner.String, scanner.Ident, scanner.Int:
		return strings.Trim(s.TokenText(), `"`), nil
	case '[':
		var list []string
		for {
			item, err := readValue(s)
			if err != nil {
				return "", err
			}
			list = append(list, item)
			switch s.Scan() {
			case ',':
			case ']':
				return strings.Join(list, ","), nil
			default:
				return "", fmt.Errorf("%s: a list goes on with %q", s.Pos(), s.TokenText())
			}
		}
	}
	return "", fmt.Errorf("%s: %q is no value", s.Pos(), s.TokenText())
}

func hcl(t *testing.T, file string) *section {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("deploy/nomad", file))
	must(t, err)
	b, err := readHCL(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return b
}

func TestHCLThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`job "a" {`, `a = `, `a = "b`, `a = ["b"`, `a = ["b" "c"]`, `a {} }`, `a "b"`, `a = 1 a = 2`, `= 1`} {
		if b, err := readHCL(text); err == nil {
			t.Errorf("%s was read as %+v", text, b)
		}
	}
}

func TestTheNomadFilesAreOfTheDriverAndOfEachOther(t *testing.T) {
	t.Parallel()
	plugin := hcl(t, "plugin.nomad.hcl").at("csi_plugin")[0].values
	v := hcl(t, "volume.hcl")
	if plugin["type"] != "monolith" || v.values["plugin_id"] != plugin["id"] || v.values["type"] != "csi" {
		t.Errorf("plugin %v, volume %v", plugin, v.values)
	}
	if !strings.HasSuffix(plugin["stage_publish_base_dir"], "/client/csi/"+plugin["type"]+"/"+plugin["id"]) {
		t.Errorf("targets are in %s, which is not where they are on the host", plugin["stage_publish_base_dir"])
	}
	if p, err := parse(v.at("parameters")[0].values); err != nil || p.role == "" {
		t.Errorf("parameters: %+v, %v", p, err)
	}
	if _, ok := v.at("segments")[0].values[TopologyKey]; !ok {
		t.Errorf("segments are %v", v.at("segments")[0].values)
	}
	job := hcl(t, "example-shared.nomad.hcl")
	volume := job.at("volume data")[0].values
	if volume["source"] != v.values["id"] || volume["access_mode"] != v.at("capability")[0].values["access_mode"] {
		t.Errorf("the job uses %v", volume)
	}
	for _, m := range job.at("volume_mount") {
		if m.values["volume"] != "data" {
			t.Errorf("a task mounts %v", m.values)
		}
	}
}

func TestTheReadmeNamesEveryFileToDeployAndEveryParameter(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	must(t, err)
	var names []string
	must(t, filepath.WalkDir("deploy", func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, filepath.Base(path))
		}
		return err
	}))
	for name := range strings.SplitSeq(parameterNames, ", ") {
		names = append(names, "`"+name+"`")
	}
	for _, name := range append(names, Driver, TopologyKey) {
		if !strings.Contains(string(text), name) {
			t.Errorf("README.md does not speak of %s", name)
		}
	}
}
