package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// The roles of the load: volumes are one's, operations with ids reserve for another.
const (
	roleOfVolumes = "web"
	roleOfOnce    = "once"
)

// names are so few that clients meet at them.
const names = 10

// load is clients that ask for anything at the same time.
type load struct {
	site    *site
	history *history
	workers []*worker

	stop    context.CancelFunc // nil while nobody works
	working sync.WaitGroup
}

// worker is one client.
type worker struct {
	*load
	id     int
	random *rand.Rand
	tasks  []task   // that it has
	fresh  int      // number of the next task
	once   []string // ids that were done
	open   string   // an id whose answer is not known
}

// task is a task that a worker has, with one volume.
type task struct {
	id, on string
	claim  bool
}

// newLoad makes clients. Two loads on one agent need different generations, for their names.
func newLoad(s *site, h *history, n int, generation int, seed uint64) *load {
	l := &load{site: s, history: h}
	for i := range n {
		l.workers = append(l.workers, &worker{
			load: l, id: i + n*generation, random: rand.New(rand.NewPCG(seed, uint64(i+n*generation)))})
	}
	return l
}

// resume lets the clients work until pause.
func (l *load) resume() {
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	for _, w := range l.workers {
		l.working.Go(func() {
			for ctx.Err() == nil && !l.site.powerless.Load() && w.act() {
			}
		})
	}
}

// pause lets the clients finish what they are at.
func (l *load) pause() {
	l.stop()
	l.working.Wait()
}

// call asks once, records what came of it, and tells it.
func (l *load) call(a Ask, ask func(ctx context.Context) (Answer, error)) Answer {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	call := l.history.ask(a)
	answer, err := ask(ctx)
	if err == nil && answer.Kind == "" {
		answer.Kind = kindOK
	}
	if err != nil {
		answer = Answer{Kind: kindOf(err), Text: err.Error()}
	}
	if l.site.powerless.Load() {
		answer.Kind = uncertain(a, answer.Kind)
	}
	l.history.answer(call, answer)
	return answer
}

// uncertain is the kind of an answer from an agent without a disk: only what it never says
// without one is believed.
func uncertain(a Ask, kind string) string {
	believed := []string{kindOK, kindNotFound, kindNobody, "exists", "in_use", "pending", "insufficient"}
	if a.Do == doLook || !slices.Contains(believed, kind) {
		return kindUnknown
	}
	return kind
}

func kindOf(err error) string {
	refused := (*client.Error)(nil)
	switch {
	case errors.As(err, &refused):
		return refused.Kind
	case errors.Is(err, client.ErrNoAgent):
		return kindNobody
	case errors.Is(err, context.DeadlineExceeded):
		return kindHung
	}
	return kindUnknown
}

// setUp reserves what the volumes are made of.
func (l *load) setUp() error {
	a := l.reserve(roleOfVolumes, volumesMiB*int64(resource.One))
	if a.Kind != kindOK {
		return fmt.Errorf("reserve for the load: %s", a.Text)
	}
	return nil
}

// act does one thing. It is false when nobody is there.
func (w *worker) act() bool {
	if w.open != "" {
		return w.doOnce(w.open)
	}
	acts := []struct {
		chance int
		do     func() Answer
	}{
		{19, w.create}, {18, w.destroy}, {8, w.resize}, {18, w.take}, {18, w.give}, {9, w.look},
		{6, w.reserveSome}, {4, func() Answer { w.doOnce(w.nextOnce()); return Answer{} }},
	}
	n := w.random.IntN(100)
	for _, a := range acts {
		if n -= a.chance; n < 0 {
			return a.do().Kind != kindNobody
		}
	}
	return true
}

// any is a volume's name.
func (w *worker) any() string { return fmt.Sprint("v", w.random.IntN(names)) }

// bytes is a size from 1 to 8 MiB.
func (w *worker) bytes() int64 { return int64(1+w.random.IntN(8)) << 20 }

func onVolume(id string) string { return "volume/" + id }

func ref(id string) string { return roleOfVolumes + "/" + id }

func (w *worker) create() Answer {
	id, size, shared := w.any(), w.bytes(), w.random.IntN(2) == 0
	a := w.call(Ask{Do: doCreate, On: onVolume(id), Size: size, Shared: shared}, func(ctx context.Context) (Answer, error) {
		v, err := w.site.Create(ctx, wire.CreateVolume{Role: roleOfVolumes, ID: id, Size: resource.Bytes(size), Shared: shared, Mode: "0777"})
		return Answer{UUID: string(v.UUID)}, err
	})
	if a.Kind == kindOK && w.random.IntN(2) == 0 { // sometimes nothing is synced after the answer but by others
		w.put(a.UUID, fmt.Sprint("c", w.id), w.site.path("pool", "live", a.UUID, "data"))
	}
	return a
}

func (w *worker) destroy() Answer {
	id, wait := w.any(), w.random.IntN(2) == 0
	return w.call(Ask{Do: doDestroy, On: onVolume(id)}, func(ctx context.Context) (Answer, error) {
		_, err := w.site.Destroy(ctx, ref(id), wait)
		return Answer{}, err
	})
}

func (w *worker) resize() Answer {
	id, size := w.any(), w.bytes()
	return w.call(Ask{Do: doResize, On: onVolume(id), Size: size}, func(ctx context.Context) (Answer, error) {
		_, err := w.site.Resize(ctx, ref(id), resource.Bytes(size))
		return Answer{}, err
	})
}

// take attaches a volume, or claims one, for a new task.
func (w *worker) take() Answer {
	if len(w.tasks) > 0 { // volumes that are always held would never go
		return w.give()
	}
	id := w.any()
	w.fresh++
	t := task{id: fmt.Sprintf("t%d-%d", w.id, w.fresh), on: id, claim: w.random.IntN(3) == 0}
	use := wire.Use{Volume: ref(id), Path: "data", Mode: resource.RW}
	if w.random.IntN(4) == 0 {
		use.Mode = resource.RO
	}
	do, uuid := doAttach, ""
	ask := func(ctx context.Context) (Answer, error) {
		a, err := w.site.Attach(ctx, t.id, wire.Attach{Use: use})
		uuid = string(a.UUID)
		return Answer{}, err
	}
	if t.claim {
		do, ask = doClaim, func(ctx context.Context) (Answer, error) {
			_, err := w.site.Claim(ctx, wire.Claim{Task: t.id, PID: os.Getpid(), Volumes: []wire.Use{use}})
			return Answer{}, err
		}
	}
	a := w.call(Ask{Do: do, On: onVolume(id), Task: t.id}, ask)
	if a.Kind == kindOK || a.Kind == kindUnknown {
		w.tasks = append(w.tasks, t)
	}
	if a.Kind == kindOK && uuid != "" && use.Mode == resource.RW {
		w.put(uuid, t.id, w.site.path("sandboxes", t.id, "data"))
	}
	return a
}

// give lets go of what one of the tasks has.
func (w *worker) give() Answer {
	if len(w.tasks) == 0 {
		return Answer{}
	}
	n := w.random.IntN(len(w.tasks))
	t := w.tasks[n]
	w.tasks = slices.Delete(w.tasks, n, n+1)
	return w.giveBack(t)
}

func (w *worker) giveBack(t task) Answer {
	do, ask := doRelease, func(ctx context.Context) (Answer, error) { return Answer{}, w.site.Release(ctx, t.id, false) }
	if !t.claim && w.random.IntN(2) == 0 { // without a lease it ends with its volume
		do, ask = doDetach, func(ctx context.Context) (Answer, error) {
			return Answer{}, w.site.Detach(ctx, t.id, ref(t.on), "", false)
		}
	}
	a := w.call(Ask{Do: do, On: onVolume(t.on), Task: t.id}, ask)
	if a.Kind == kindUnknown || a.Kind == kindNobody {
		w.tasks = append(w.tasks, t)
	}
	return a
}

func (w *worker) look() Answer { return w.lookAt(w.any()) }

// lookAt looks at a volume.
func (l *load) lookAt(id string) Answer {
	return l.call(Ask{Do: doLook, On: onVolume(id)}, func(ctx context.Context) (Answer, error) {
		v, err := l.site.Volume(ctx, ref(id))
		if errors.Is(err, volume.ErrNotFound) {
			return Answer{}, nil // there is none
		}
		var holders []string
		for _, h := range v.Holders {
			holders = append(holders, h.Task)
		}
		return Answer{UUID: string(v.UUID), State: v.State, Size: int64(v.Size), Shared: v.Shared, Holders: joined(holders)}, err
	})
}

// put writes what must be there as long as the volume.
func (w *worker) put(uuid, name, dir string) {
	w.call(Ask{Do: doWrite, On: "data/" + uuid, Task: name}, func(context.Context) (Answer, error) {
		err := errors.Join(writeSynced(filepath.Join(dir, name), uuid+" "+name), syncDir(dir))
		if err != nil { // somebody has destroyed it, or the power is going
			return Answer{Kind: "not_written", Text: err.Error()}, nil
		}
		return Answer{}, nil
	})
}

// writeSynced writes a file. No process is started meanwhile, which would have the file until
// it runs a program of its own, and would keep a mount busy that nobody is seen to use.
func writeSynced(name, text string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(name string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// reserveSome gives a role of the worker's own some space, or takes it back.
func (w *worker) reserveSome() Answer {
	role, size := fmt.Sprint("r", w.id), int64(1+w.random.IntN(2000))
	if w.random.IntN(2) == 0 {
		return w.unreserve(role, size)
	}
	return w.reserve(role, size)
}

func (l *load) reserve(role string, size int64) Answer {
	return l.apply(Ask{Do: doReserve, On: "role/" + role, Size: size},
		resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: reserved(role, size)}})
}

func (l *load) unreserve(role string, size int64) Answer {
	return l.apply(Ask{Do: doUnreserve, On: "role/" + role, Size: size},
		resource.Operation{Type: resource.OpUnreserve, Unreserve: &resource.Unreserve{Resources: reserved(role, size)}})
}

func (l *load) apply(a Ask, op resource.Operation) Answer {
	return l.call(a, func(ctx context.Context) (Answer, error) {
		applied, err := l.site.Apply(ctx, op)
		if err == nil && op.ID != "" && (len(applied.Operations) != 1 || applied.Operations[0].State != volume.OperationFinished) {
			err = fmt.Errorf("operation %s: %+v", op.ID, applied.Operations)
		}
		return Answer{}, err
	})
}

func reserved(role string, size int64) []resource.Resource {
	return []resource.Resource{{
		Name: "disk", Type: resource.TypeScalar, Scalar: resource.Scalar(size),
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: role}},
	}}
}

// nextOnce is a new id, or one of the last that were done already.
func (w *worker) nextOnce() string {
	const recent = 5 // the agent keeps the last 1,000 of all clients
	if n := len(w.once); n > 0 && w.random.IntN(2) == 0 {
		return w.once[n-1-w.random.IntN(min(n, recent))]
	}
	return fmt.Sprintf("op-%d-%d", w.id, len(w.once))
}

// doOnce asks for an operation with an id until it is known to be done.
func (w *worker) doOnce(id string) bool {
	w.open = id
	a := w.apply(Ask{Do: doOnce, On: "id/" + id, Size: 1},
		resource.Operation{Type: resource.OpReserve, ID: id, Reserve: &resource.Reserve{Resources: reserved(roleOfOnce, 1)}})
	if a.Kind == kindOK {
		w.open = ""
		if !slices.Contains(w.once, id) {
			w.once = append(w.once, id)
		}
	}
	return a.Kind != kindNobody && a.Kind != kindUnknown
}

// windDown gives everything back that the clients have.
func (l *load) windDown() error {
	for _, w := range l.workers {
		for _, t := range w.tasks {
			if a := w.giveBack(t); a.Kind != kindOK && a.Kind != kindNotFound {
				return fmt.Errorf("release %s: %s", t.id, a.Text)
			}
		}
		w.tasks = nil
	}
	for n := range names {
		id := fmt.Sprint("v", n)
		a := l.call(Ask{Do: doDestroy, On: onVolume(id)}, func(ctx context.Context) (Answer, error) {
			_, err := l.site.Destroy(ctx, ref(id), true)
			return Answer{}, err
		})
		if a.Kind != kindOK && a.Kind != kindNotFound {
			return fmt.Errorf("destroy %s: %s", id, a.Text)
		}
	}
	return nil
}

// wait is a random time below a limit.
func wait(r *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(limit)))
}

// idOf is the part of On that follows its kind.
func idOf(on string) string { _, id, _ := strings.Cut(on, "/"); return id }
