package resource

import "fmt"

// unread is a field that is known and may hold anything.
type unread struct{}

// UnmarshalJSON passes the value over.
func (*unread) UnmarshalJSON([]byte) error { return nil }

type wireLaunch struct {
	Tasks []wireTask `json:"task_infos"`
}

type wireLaunchGroup struct {
	Executor  wireExecutor  `json:"executor"`
	TaskGroup wireTaskGroup `json:"task_group"`
}

type wireTaskGroup struct {
	Tasks []wireTask `json:"tasks"`
}

// wireTask has the agent's id by its names in both versions of Mesos' API.
type wireTask struct {
	Name              string         `json:"name"`
	ID                wireValue      `json:"task_id"`
	AgentID           *wireValue     `json:"agent_id,omitempty"`
	SlaveID           *wireValue     `json:"slave_id,omitempty"`
	Resources         []wireResource `json:"resources,omitempty"`
	Executor          *wireExecutor  `json:"executor,omitempty"`
	Command           *unread        `json:"command,omitempty"`
	Container         *unread        `json:"container,omitempty"`
	HealthCheck       *unread        `json:"health_check,omitempty"`
	Check             *unread        `json:"check,omitempty"`
	KillPolicy        *unread        `json:"kill_policy,omitempty"`
	Data              *unread        `json:"data,omitempty"`
	Labels            *unread        `json:"labels,omitempty"`
	Discovery         *unread        `json:"discovery,omitempty"`
	MaxCompletionTime *unread        `json:"max_completion_time,omitempty"`
	Limits            *unread        `json:"limits,omitempty"`
}

type wireExecutor struct {
	ID                  wireValue      `json:"executor_id"`
	Resources           []wireResource `json:"resources,omitempty"`
	Type                *unread        `json:"type,omitempty"`
	FrameworkID         *unread        `json:"framework_id,omitempty"`
	Command             *unread        `json:"command,omitempty"`
	Container           *unread        `json:"container,omitempty"`
	Name                *unread        `json:"name,omitempty"`
	Source              *unread        `json:"source,omitempty"`
	Data                *unread        `json:"data,omitempty"`
	Discovery           *unread        `json:"discovery,omitempty"`
	ShutdownGracePeriod *unread        `json:"shutdown_grace_period,omitempty"`
	Labels              *unread        `json:"labels,omitempty"`
}

func (w *wireOperation) readLaunch(o *Operation) (err error) {
	if b := w.Launch; b != nil {
		o.Launch = &Launch{}
		o.Launch.Tasks, err = tasksOf("launch.task_infos", b.Tasks)
	}
	return err
}

func (w *wireOperation) readLaunchGroup(o *Operation) (err error) {
	b := w.LaunchGroup
	if b == nil {
		return nil
	}
	o.LaunchGroup = &LaunchGroup{}
	if o.LaunchGroup.Executor, err = b.Executor.executor("launch_group.executor"); err != nil {
		return err
	}
	o.LaunchGroup.Tasks, err = tasksOf("launch_group.task_group.tasks", b.TaskGroup.Tasks)
	return err
}

func tasksOf(where string, wires []wireTask) ([]TaskInfo, error) {
	var list []TaskInfo
	for i := range wires {
		t, err := wires[i].task(fmt.Sprintf("%s[%d]", where, i))
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

func (w *wireTask) task(where string) (t TaskInfo, err error) {
	t = TaskInfo{ID: w.ID.Value, Name: w.Name}
	if t.AgentID, err = w.agentID(); err != nil {
		return TaskInfo{}, fmt.Errorf("%s: %w", where, err)
	}
	if t.Resources, err = resourcesOf(where+".resources", w.Resources); err != nil {
		return TaskInfo{}, err
	}
	t.Executor, err = w.Executor.executor(where + ".executor")
	return t, err
}

func (w *wireTask) agentID() (string, error) {
	id := w.AgentID
	if id == nil {
		id = w.SlaveID
	}
	switch {
	case id == nil:
		return "", nil
	case id.Value == "":
		return "", invalidf("'agent_id.value' must not be empty")
	case w.SlaveID != nil && *w.SlaveID != *id:
		return "", invalidf("'slave_id' %s does not match 'agent_id' %s", shorten(w.SlaveID.Value), shorten(id.Value))
	}
	return id.Value, nil
}

func (w *wireExecutor) executor(where string) (*ExecutorInfo, error) {
	if w == nil {
		return nil, nil
	}
	resources, err := resourcesOf(where+".resources", w.Resources)
	if err != nil {
		return nil, err
	}
	return &ExecutorInfo{ID: w.ID.Value, Resources: resources}, nil
}

func wireTasks(list []TaskInfo) []wireTask {
	var wires []wireTask
	for _, t := range list {
		w := wireTask{Name: t.Name, ID: wireValue{Value: t.ID}, Resources: wireList(t.Resources)}
		if t.AgentID != "" {
			w.AgentID = &wireValue{Value: t.AgentID}
		}
		if t.Executor != nil {
			w.Executor = t.Executor.wire()
		}
		wires = append(wires, w)
	}
	return wires
}

func (e ExecutorInfo) wire() *wireExecutor {
	return &wireExecutor{ID: wireValue{Value: e.ID}, Resources: wireList(e.Resources)}
}
