package api

import (
	_ "embed" // openapi.yaml

	"tenon/agent/resource"
	"tenon/agent/wire"
)

// handler answers one request.
type handler func(*Server, *call) (answer, error)

// route is one thing that can be asked. openapi.yaml says the same, and a test holds
// them against each other.
type route struct {
	method  string
	pattern string   // of http.ServeMux
	query   []string // parameters
	request any      // a value of the type that the body has; nil is none
	answer  any      // a value of the type that the answer has; nil is none
	handle  handler
}

// routes is everything that can be asked. Who may ask is the same for all of them.
var routes = []route{
	{"GET", "/v1/status", []string{"index", "wait"}, nil, wire.Status{}, (*Server).status},
	{"GET", "/v1/events", []string{"index"}, nil, nil, (*Server).events},
	{"GET", "/v1/disks", []string{"fields"}, nil, wire.Disks{}, (*Server).disks},
	{"GET", "/v1/caller", nil, nil, wire.Caller{}, (*Server).caller},
	{"GET", "/v1/masters", nil, nil, wire.Masters{}, (*Server).mastersAnswer},
	{"GET", "/v1/healthz", nil, nil, wire.Health{}, (*Server).health},
	{"GET", "/v1/openapi.yaml", nil, nil, nil, (*Server).describe},
	{"GET", "/v1/resources", []string{"role", "shared"}, nil, wire.Resources{}, walking((*Server).resources)},

	{"GET", "/v1/operations", []string{"all", "after", "limit"}, nil, wire.OperationStatuses{}, (*Server).operations},
	{"POST", "/v1/operations", []string{"dry_run"}, wire.Operations{}, wire.Applied{}, (*Server).apply},
	{"GET", "/v1/operations/{id}", nil, nil, wire.OperationStatus{}, (*Server).operation},
	{"DELETE", "/v1/operations/{id}", nil, nil, nil, (*Server).acknowledge},

	{"GET", "/v1/volumes", []string{"after", "limit", "fields"}, nil, wire.Volumes{}, (*Server).volumes},
	{"POST", "/v1/volumes", []string{"dry_run"}, wire.CreateVolume{}, wire.Volume{}, withBody((*Server).create)},
	{"GET", "/v1/volumes/{ref...}", nil, nil, wire.Volume{}, (*Server).volume},
	{"PATCH", "/v1/volumes/{ref...}", []string{"dry_run"}, wire.ResizeVolume{}, wire.Volume{}, withBody((*Server).resize)},
	{"DELETE", "/v1/volumes/{ref...}", []string{"wait", "dry_run"}, nil, wire.Volume{}, (*Server).destroy},

	{"GET", "/v1/usage", []string{"after", "limit"}, nil, wire.Usage{}, walking((*Server).usage)},

	{"GET", "/v1/tasks", []string{"after", "limit", "fields", "held"}, nil, wire.Tasks{}, (*Server).tasks},
	{"POST", "/v1/tasks", nil, wire.Claim{}, wire.Task{}, withBody((*Server).claim)},
	{"GET", "/v1/tasks/{task}", nil, nil, wire.Task{}, (*Server).task},
	{"DELETE", "/v1/tasks/{task}", []string{"lazy"}, nil, nil, (*Server).release},
	{"PUT", "/v1/tasks/{task}/lease", nil, wire.Renew{}, wire.Task{}, withBody((*Server).renew)},
	{"POST", "/v1/tasks/{task}/kill", nil, nil, wire.Task{}, (*Server).kill},
	{"POST", "/v1/tasks/{task}/attachments", nil, wire.Attach{}, wire.Attachment{}, withBody((*Server).attach)},
	{"PATCH", "/v1/tasks/{task}/attachments", nil, wire.SetMode{}, wire.Task{}, withBody((*Server).setMode)},
	{"DELETE", "/v1/tasks/{task}/attachments", []string{"volume", "path", "lazy"}, nil, nil, (*Server).detach},
	{"POST", "/v1/tasks/{task}/mounts", nil, wire.Attach{}, wire.Attachment{}, withBody((*Server).mount)},

	// What tools expect to find without being told.
	{"GET", "/healthz", nil, nil, wire.Health{}, (*Server).health},
	{"GET", "/readyz", nil, nil, wire.Health{}, (*Server).ready},
	{"GET", "/metrics", nil, nil, nil, (*Server).scrape},

	// What Mesos' operators ask a master for (spec.md 3.14).
	{"POST", "/reserve", nil, nil, nil, form(resource.OpReserve, "resources")},
	{"POST", "/unreserve", nil, nil, nil, form(resource.OpUnreserve, "resources")},
	{"POST", "/create-volumes", nil, nil, nil, form(resource.OpCreate, "volumes")},
	{"POST", "/destroy-volumes", nil, nil, nil, form(resource.OpDestroy, "volumes")},
	{"POST", "/api/v1", nil, wire.Call{}, wire.CallAnswer{}, (*Server).call},
	{"POST", "/master/reserve", nil, nil, nil, form(resource.OpReserve, "resources")},
	{"POST", "/master/unreserve", nil, nil, nil, form(resource.OpUnreserve, "resources")},
	{"POST", "/master/create-volumes", nil, nil, nil, form(resource.OpCreate, "volumes")},
	{"POST", "/master/destroy-volumes", nil, nil, nil, form(resource.OpDestroy, "volumes")},
	{"POST", "/master/api/v1", nil, wire.Call{}, wire.CallAnswer{}, (*Server).call},
}

//go:embed openapi.yaml
var openapi []byte
