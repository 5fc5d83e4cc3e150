package api

import (
	"errors"
	"net/http"
	"time"

	"tenon/agent/volume"
	"tenon/agent/wire"
)

func (s *Server) tasks(c *call) (answer, error) {
	limit, err := c.limit()
	if err != nil {
		return answer{}, err
	}
	held, err := c.flag("held", false)
	if err != nil {
		return answer{}, err
	}
	st := s.agent.State()
	page := wire.TasksOf(st, c.URL.Query().Get("after"), limit, c.peer.view)
	for i := range page.Tasks {
		if held {
			s.addHeld(st, &page.Tasks[i])
		}
	}
	return selectFields(c, page, "tasks")
}

// addHeld adds what holds a task of st. Where that is not known, it is left out.
func (s *Server) addHeld(st *volume.State, w *wire.Task) {
	t, there := st.Task(w.ID)
	if !there || s.gauge == nil {
		return
	}
	life, err := s.gauge.Life(t)
	if err != nil {
		s.log.Warn("what holds a task is not known", "task", t.ID, "err", err)
		return
	}
	w.Held = wire.HeldOf(t, life.Process, life.Processes, life.Left)
}

// task tells all about one task, and what holds it.
func (s *Server) task(c *call) (answer, error) {
	st := s.agent.State()
	t, there := st.Task(c.PathValue("task"))
	if !there {
		return c.taskIn(st, c.PathValue("task"))
	}
	w := wire.TaskOf(st, t, c.peer.view)
	s.addHeld(st, &w)
	return ok(w), nil
}

// renew holds a task for another time to live.
func (s *Server) renew(c *call, request wire.Renew) (answer, error) {
	op, err := request.Operation(c.PathValue("task"))
	if err != nil {
		return answer{}, err
	}
	st, err := s.ask(c, op)
	if err != nil {
		return answer{}, err
	}
	return c.taskIn(st, op.Task)
}

func (c *call) taskIn(st *volume.State, id string) (answer, error) {
	t, there := st.Task(id)
	if !there {
		return answer{}, refusal(volume.ErrNotFound, "there is no task %q", id)
	}
	return ok(wire.TaskOf(st, t, c.peer.view)), nil
}

func (s *Server) claim(c *call, request wire.Claim) (answer, error) {
	op, err := request.Operation(c.peer.process())
	if err != nil {
		return answer{}, err
	}
	st, err := s.ask(c, op)
	if err != nil {
		return answer{}, err
	}
	return c.taskIn(st, request.Task)
}

func (s *Server) release(c *call) (answer, error) {
	lazy, err := c.flag("lazy", false)
	if err != nil {
		return answer{}, err
	}
	_, err = s.ask(c, volume.Release{Task: c.PathValue("task"), By: c.peer.pid, Lazy: lazy})
	return nothing(), err
}

// kill answers 204 when the task is gone. When that takes longer than the request has, it
// answers 202 with what is left of the task.
func (s *Server) kill(c *call) (answer, error) {
	id := c.PathValue("task")
	op := volume.Kill{Task: id}
	if c.peer.remote == "" {
		op.User = &c.peer.uid
	}
	if t, there := s.agent.State().Task(id); there {
		op.Since = t.Since
	}
	st, err := s.ask(c, op)
	for err == nil && runs(st, id, op.Since) {
		st, err = s.agent.Watch(c.Context(), st.Version)
	}
	if err == nil { // its processes have ended; now wait for what it had
		_, err = s.ask(c, volume.Release{Task: id, Since: op.Since})
	}
	if errors.Is(err, volume.ErrNotFound) && !op.Since.IsZero() {
		return nothing(), nil
	}
	st = s.agent.State()
	t, there := st.Task(id)
	switch late := c.Context().Err() != nil && errors.Is(err, c.Context().Err()); {
	case err == nil:
		return nothing(), nil
	case late && there && (t.Killing || t.Releasing):
		return answer{status: http.StatusAccepted, body: wire.TaskOf(st, t, c.peer.view)}, nil
	}
	return answer{}, err
}

// runs says whether the task that began then is there and is not being released.
func runs(st *volume.State, id string, since time.Time) bool {
	t, there := st.Task(id)
	return there && !t.Releasing && t.Since.Equal(since)
}

// attach mounts a volume where the task sees it: beneath its sandbox, or in the mount namespace
// of one of its processes.
func (s *Server) attach(c *call, request wire.Attach) (answer, error) {
	if c.peer.remote != "" && request.PID != 0 {
		return answer{}, invalid("a process can only be named on the agent's own host, by its unix socket; " +
			"elsewhere name the task alone")
	}
	op, err := request.Operation(c.PathValue("task"), "")
	if err != nil {
		return answer{}, err
	}
	op.UID = c.peer.uid
	st, err := s.ask(c, op)
	if err != nil {
		return answer{}, err
	}
	return attachmentIn(st, op)
}

// mount gives the mount itself, as a descriptor.
func (s *Server) mount(c *call, request wire.Attach) (answer, error) {
	if c.peer.remote != "" {
		return answer{}, invalid("a mount can only be handed over on the agent's own host, by its unix socket; " +
			"elsewhere ask for an attachment, which is mounted at a path")
	}
	op, err := request.Operation(c.PathValue("task"), volume.ByDescriptor)
	if err != nil {
		return answer{}, err
	}
	f, err := s.askMount(c, op)
	if err != nil {
		return answer{}, err
	}
	a, err := attachmentIn(s.agent.State(), op)
	if err != nil {
		_ = f.Close() // its task was released meanwhile, nobody gets it
		return answer{}, err
	}
	a.file = f
	return a, nil
}

// attachmentIn finds what an operation has attached.
func attachmentIn(st *volume.State, op volume.Attach) (answer, error) {
	v, err := st.Find(op.Volume)
	if err != nil {
		return answer{}, err
	}
	if op.Path == "" {
		op.Path = v.ContainerPath
	}
	a, there := st.Attachment((&volume.Attachment{Volume: v.UUID, Task: op.Task, Path: op.Path}).Unit())
	if !there {
		return answer{}, refusal(volume.ErrPending, "task %s was released meanwhile", op.Task)
	}
	return ok(wire.AttachmentOf(st, a)), nil
}

// setMode flips the mounts of a volume in a task that runs, and tells the task.
func (s *Server) setMode(c *call, request wire.SetMode) (answer, error) {
	st, err := s.ask(c, volume.SetMode{Task: c.PathValue("task"), Volume: request.Volume, Path: request.Path, Mode: request.Mode})
	if err != nil {
		return answer{}, err
	}
	return c.taskIn(st, c.PathValue("task"))
}

func (s *Server) detach(c *call) (answer, error) {
	lazy, err := c.flag("lazy", false)
	if err != nil {
		return answer{}, err
	}
	q := c.URL.Query()
	if q.Get("volume") == "" {
		return answer{}, invalid("parameter volume is not set: which one, as role/id or UUID?")
	}
	_, err = s.ask(c, volume.Detach{
		Task: c.PathValue("task"), Volume: q.Get("volume"), Path: q.Get("path"), Lazy: lazy,
	})
	return nothing(), err
}
