package resource

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// use is a shared volume as a task names it: anywhere, read-only.
func use(v Resource, path string) Resource {
	v = v.volume(v.Disk.Persistence.ID, path).shared()
	v.Disk.Volume.Mode = RO
	return v
}

func launchOperations(t testing.TB) []Operation {
	t.Helper()
	shared := adsVolume(2048, "shared-data").shared()
	executor := &ExecutorInfo{ID: "e1", Resources: mustText(t, "cpus:0.1;mem:32")}
	writer := TaskInfo{ID: "writer", Name: "the writer", AgentID: "agent-1", Resources: append(mustText(t, "cpus:1"), shared)}
	reader := TaskInfo{ID: "reader", Resources: []Resource{use(shared, "in")}, Executor: executor}
	return []Operation{
		{Type: OpLaunch, ID: "op-7", Launch: &Launch{Tasks: []TaskInfo{writer, reader}}},
		{Type: OpLaunch, Launch: &Launch{Tasks: []TaskInfo{{ID: "idle", Name: "holds nothing"}}}},
		{Type: OpLaunchGroup, LaunchGroup: &LaunchGroup{Executor: executor, Tasks: []TaskInfo{reader, writer}}},
		{Type: OpLaunchGroup, LaunchGroup: &LaunchGroup{Executor: &ExecutorInfo{ID: "default"}, Tasks: []TaskInfo{writer}}},
	}
}

func TestLaunchesReadBackExactly(t *testing.T) {
	t.Parallel()
	want := launchOperations(t)
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseOperations(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, exactly); diff != "" {
		t.Errorf("%s (-want +got):\n%s", data, diff)
	}
}

func TestALaunchIsReadAsMesosSendsIt(t *testing.T) {
	t.Parallel()
	const known = `"command":{"value":"sleep 1","shell":true},"container":{"type":"MESOS","x":null},"health_check":{},"check":{"a":[1]},
		"kill_policy":{},"data":"AA==","labels":{},"discovery":{},"max_completion_time":{"nanoseconds":1},"limits":{"cpus":{"value":"Infinity"}}`
	const executor = `{"type":"DEFAULT","executor_id":{"value":"e"},"framework_id":{"value":"f"},"command":{},"container":{},"name":"n",
		"source":"s","data":"","discovery":{},"shutdown_grace_period":{},"labels":{},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]}`
	const old = `[{"name":"disk","type":"SCALAR","scalar":{"value":1},"role":"eng","reservation":{}}]`
	cpu := []Resource{{Name: "cpus", Type: TypeScalar, Scalar: One}}
	e := &ExecutorInfo{ID: "e", Resources: cpu}
	for text, want := range map[string]Operation{
		`{"type":"LAUNCH","launch":{"task_infos":[{"name":"n","task_id":{"value":"t"},"slave_id":{"value":"s"},"resources":` + old + `,` + known + `}]}}`: {
			Type: OpLaunch, Launch: &Launch{Tasks: []TaskInfo{{ID: "t", Name: "n", AgentID: "s", Resources: []Resource{disk(1, "eng")}}}}},
		`{"type":"LAUNCH","launch":{"task_infos":[{"name":"n","task_id":{"value":"t"},"slave_id":{"value":"s"},"agent_id":{"value":"s"},"executor":` + executor + `}]}}`: {
			Type: OpLaunch, Launch: &Launch{Tasks: []TaskInfo{{ID: "t", Name: "n", AgentID: "s", Executor: e}}}},
		`{"type":"LAUNCH_GROUP","launch_group":{"executor":` + executor + `,"task_group":{"tasks":[{"name":"","task_id":{"value":"t"}}]}}}`: {
			Type: OpLaunchGroup, LaunchGroup: &LaunchGroup{Executor: e, Tasks: []TaskInfo{{ID: "t"}}}},
	} {
		got, err := ParseOperations([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff([]Operation{want}, got, exactly); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestLaunchesThatSayNothingCertainAreRefused(t *testing.T) {
	t.Parallel()
	const task, executor = `{"name":"n","task_id":{"value":"t"}}`, `{"executor_id":{"value":"e"}}`
	launch := func(tasks string) string { return `{"type":"LAUNCH","launch":{"task_infos":[` + tasks + `]}}` }
	with := func(more string) string { return launch(task[:len(task)-1] + `,` + more + `}`) }
	id := func(id string) string { return launch(strings.ReplaceAll(task, `"t"`, `"`+id+`"`)) }
	group := func(executor, tasks string) string {
		return `{"type":"LAUNCH_GROUP","launch_group":{"executor":` + executor + `,"task_group":{"tasks":[` + tasks + `]}}}`
	}
	for text, fragment := range map[string]string{
		`{"type":"LAUNCH"}`:                       "operation LAUNCH: 'launch' is not set",
		`{"type":"LAUNCH_GROUP"}`:                 "operation LAUNCH_GROUP: 'launch_group' is not set",
		`{"type":"LAUNCH","launch":{}}`:           `launch: field "task_infos" is not set`,
		`{"type":"LAUNCH","launch":{"tasks":[]}}`: `launch: unknown field "tasks"`,
		launch(""):                          "operation LAUNCH: Operation contains no tasks",
		launch(`{"name":"n"}`):              `field "task_id" is not set`,
		launch(`{"task_id":{"value":"t"}}`): `field "name" is not set`,
		launch(task + `,` + task):           "launch.task_infos[1]: Task has duplicate ID: t",
		id(""):                              "launch.task_infos[0]: task_id: ID must not be empty",
		id(".."):                            "task_id: '..' is disallowed",
		id("a/b"):                           "task_id: 'a/b' contains invalid characters",
		id(strings.Repeat("x", 256)):        "task_id: ID must not be greater than 255 characters",
		with(`"priority":1`):                `launch: task_infos: [0]: unknown field "priority"`,
		with(`"command":{},"command":{}`):   `field "command" occurs twice`,
		with(`"command":{"value":}`):        "invalid character",
		with(`"command":`):                  "invalid character",
		with(`"agent_id":{"value":""}`):     "'agent_id.value' must not be empty",
		with(`"agent_id":{"value":"a/b"}`):  "agent_id: 'a/b' contains invalid characters",
		with(`"agent_id":{"value":"a"},"slave_id":{"value":"b"}`):                                `'slave_id' "b" does not match 'agent_id' "a"`,
		with(`"resources":[{"name":"x","type":"SET"}]`):                                          "launch.task_infos[0].resources[0]: Resource 'x:{}' is invalid",
		with(`"executor":{}`):                                                                    `executor: field "executor_id" is not set`,
		with(`"executor":{"executor_id":{"value":""}}`):                                          "executor: executor_id: ID must not be empty",
		with(`"executor":{"executor_id":{"value":"e"},"resources":[{"name":"x","type":"SET"}]}`): "launch.task_infos[0].executor.resources[0]: Resource",
		group(executor, ""):                                                                      "operation LAUNCH_GROUP: Operation contains no tasks",
		group(`{"executor_id":{"value":"."}}`, task):                                             "launch_group.executor: executor_id: '.' is disallowed",
		group(`{"executor_id":{"value":"e"},"x":1}`, task):                                       `launch_group: executor: unknown field "x"`,
		group(executor, task+","+task):                                                           "launch_group.task_group.tasks[1]: Task has duplicate ID",
		group(`{"executor_id":{"value":"e"},"resources":[{"name":"x","type":"SET"}]}`, task):     "launch_group.executor.resources[0]: Resource",
		`{"type":"LAUNCH_GROUP","launch_group":{"task_group":{"tasks":[` + task + `]}}}`:         `launch_group: field "executor" is not set`,
		`{"type":"LAUNCH","launch":{"task_infos":[` + task:                                       "unexpected EOF",
		`{"type":"LAUNCH","launch":{"task_infos":[{"command":{`:                                  "unexpected EOF",
		`{"type":"LAUNCH","launch":{"task_infos":[` + task + `]},"launch_group":{"executor":` + executor + `,"task_group":{"tasks":[]}}}`: "'launch_group' must not be set",
	} {
		_, err := ParseOperations([]byte(text))
		refused(t, text, err, fragment)
	}
}

func TestAGroupMadeWithoutAnExecutorIsRefused(t *testing.T) {
	t.Parallel()
	o := Operation{Type: OpLaunchGroup, LaunchGroup: &LaunchGroup{Tasks: []TaskInfo{{ID: "t"}}}}
	refused(t, "group", o.Validate(), "'launch_group.executor' is not set")
	if len(o.Resources()) != 0 {
		t.Errorf("it has resources %v", o.Resources())
	}
}

func TestTheResourcesOfALaunchAreThoseOfItsTasksAndExecutors(t *testing.T) {
	t.Parallel()
	ops := launchOperations(t)
	for i, want := range []int{5, 0, 7, 2} {
		if got := ops[i].Resources(); len(got) != want {
			t.Errorf("%s has %v, want %d of them", ops[i].Type, got, want)
		}
		if err := ValidateList(ops[i].Resources()); err != nil {
			t.Errorf("%s: %v", ops[i].Type, err)
		}
	}
}
