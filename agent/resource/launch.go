package resource

import "fmt"

// Launch starts tasks, each on its own.
type Launch struct{ Tasks []TaskInfo }

// LaunchGroup starts tasks that live and end together under one executor.
type LaunchGroup struct {
	Executor *ExecutorInfo // always there
	Tasks    []TaskInfo
}

// TaskInfo is what the preparation of a task's volumes needs of Mesos' TaskInfo. Its
// other fields are accepted when read, whatever they hold, and are not written.
type TaskInfo struct {
	ID        string
	Name      string
	AgentID   string // the agent that is to run it; "" is absent
	Resources []Resource
	Executor  *ExecutorInfo // nil is absent
}

// ExecutorInfo is of Mesos' ExecutorInfo what TaskInfo is of its namesake.
type ExecutorInfo struct {
	ID        string
	Resources []Resource
}

// tasks are the tasks that o launches, and the field that they stand in.
func (o Operation) tasks() (list []TaskInfo, field string) {
	switch {
	case o.Launch != nil:
		return o.Launch.Tasks, "launch.task_infos"
	case o.LaunchGroup != nil:
		return o.LaunchGroup.Tasks, "launch_group.task_group.tasks"
	}
	return nil, ""
}

// launched are all resources that o's tasks and their executors are to have.
func (o Operation) launched() []Resource {
	var list []Resource
	if g := o.LaunchGroup; g != nil && g.Executor != nil {
		list = append(list, g.Executor.Resources...)
	}
	tasks, _ := o.tasks()
	for _, task := range tasks {
		list = append(list, task.Resources...)
		if task.Executor != nil {
			list = append(list, task.Executor.Resources...)
		}
	}
	return list
}

// validateTasks says whether there are tasks, each with an id of its own that may exist.
func (o Operation) validateTasks() error {
	if g := o.LaunchGroup; g != nil {
		if g.Executor == nil {
			return invalidf("operation %s: 'launch_group.executor' is not set", o.Type)
		}
		if err := g.Executor.validate(); err != nil {
			return fmt.Errorf("launch_group.executor: %w", err)
		}
	}
	tasks, field := o.tasks()
	if len(tasks) == 0 {
		return invalidf("operation %s: Operation contains no tasks", o.Type)
	}
	known := map[string]bool{}
	for i, task := range tasks {
		if err := task.validate(); err != nil {
			return fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		if known[task.ID] {
			return invalidf("%s[%d]: Task has duplicate ID: %s", field, i, task.ID)
		}
		known[task.ID] = true
	}
	return nil
}

func (t TaskInfo) validate() error {
	if err := CheckID(t.ID); err != nil {
		return fmt.Errorf("task_id: %w", err)
	}
	if t.AgentID != "" {
		if err := CheckID(t.AgentID); err != nil {
			return fmt.Errorf("agent_id: %w", err)
		}
	}
	if t.Executor == nil {
		return nil
	}
	if err := t.Executor.validate(); err != nil {
		return fmt.Errorf("executor: %w", err)
	}
	return nil
}

func (e ExecutorInfo) validate() error {
	if err := CheckID(e.ID); err != nil {
		return fmt.Errorf("executor_id: %w", err)
	}
	return nil
}
