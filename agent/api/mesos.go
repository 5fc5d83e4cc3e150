package api

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// isMesos says whether a path is one of Mesos' own, of which a master has each also beneath
// its name. Their refusals are plain text.
func isMesos(path string) bool {
	switch strings.TrimPrefix(path, "/master") {
	case "/reserve", "/unreserve", "/create-volumes", "/destroy-volumes", "/api/v1":
		return true
	}
	return false
}

// operatorError is an error of an operation that was asked for in Mesos' way.
type operatorError struct {
	operation string
	error
}

// Unwrap gives the error.
func (e *operatorError) Unwrap() error { return e.error }

// refusePlainly sends an error as Mesos' master does.
func (s *Server) refusePlainly(w *recorder, err error) {
	p := problemOf(err)
	status, text := p.Status, p.Detail
	if e := (*operatorError)(nil); errors.As(err, &e) {
		status, text = wire.OperatorRefusal(e.operation, e.error)
	}
	s.send(w, status, "text/plain; charset=utf-8", []byte(text))
}

// form takes a post of a form that asks for an operation.
func form(operation, list string) handler {
	return func(s *Server, c *call) (answer, error) {
		data, err := c.foreign("application/x-www-form-urlencoded")
		if err != nil {
			return answer{}, err
		}
		fields, err := readForm(data, list, operation)
		if err != nil {
			return answer{}, err
		}
		op, err := operationOf(operation, list, fields)
		if err != nil {
			return answer{}, err
		}
		return s.operate(c, fields.Get("slaveId"), op)
	}
}

// call takes a JSON call of version 1.
func (s *Server) call(c *call) (answer, error) {
	data, err := c.foreign("application/json")
	if err != nil {
		return answer{}, err
	}
	var request wire.Call
	if err := wire.Decode(data, &request); err != nil {
		return answer{}, err
	}
	op, agent, err := request.Operation()
	switch {
	case err != nil:
		return answer{}, err
	case request.Type == wire.GetOperations:
		return ok(wire.CallOperationsOf(s.agent.State(), c.peer.asked)), nil
	}
	return s.operate(c, agent, op)
}

// operate has one operation applied, whose success has no more to say than that.
func (s *Server) operate(c *call, agent string, op resource.Operation) (answer, error) {
	if agent != s.agent.State().Agent {
		return answer{}, invalid("No agent found with specified ID")
	}
	if _, err := s.askMesos(c, []resource.Operation{op}); err != nil {
		return answer{}, &operatorError{op.Type, err}
	}
	return answer{status: http.StatusAccepted}, nil
}

// foreign reads a body of a type that a page of some other site may have a browser send:
// what a browser says comes from elsewhere is refused.
func (c *call) foreign(media string) ([]byte, error) {
	if err := http.NewCrossOriginProtection().Check(c.Request); err != nil {
		return nil, refusal(volume.ErrForbidden, "%s", err)
	}
	if !c.is(media) {
		return nil, problem(http.StatusUnsupportedMediaType, volume.ErrInvalid, "Expecting 'Content-Type' of %s, not %.64q",
			media, c.Header.Get("Content-Type"))
	}
	return c.read(maxOperations)
}

// readForm reads a form that has all of its fields, each once, and no others.
func readForm(data []byte, list, operation string) (url.Values, error) {
	fields, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, invalid("Unable to decode query string: %v", err)
	}
	known := []string{"slaveId", list}
	for _, name := range known {
		if !fields.Has(name) {
			return nil, invalid("Missing '%s' query parameter in the request body", name)
		}
	}
	if operation == resource.OpReserve {
		known = append(known, "source")
	}
	for name, values := range fields {
		switch {
		case !slices.Contains(known, name):
			return nil, invalid("unknown parameter %.64q in the request body; known are: %s", name, strings.Join(known, ", "))
		case len(values) > 1:
			return nil, invalid("parameter %q occurs twice in the request body", name)
		}
	}
	return fields, nil
}

// operationOf reads the resources of a form.
func operationOf(kind, list string, fields url.Values) (op resource.Operation, err error) {
	resources, err := resourcesIn(fields, list)
	if err != nil {
		return op, err
	}
	source, err := resourcesIn(fields, "source")
	if err != nil {
		return op, err
	}
	op.Type = kind
	switch kind {
	case resource.OpReserve:
		op.Reserve = &resource.Reserve{Resources: resources, Source: source}
	case resource.OpUnreserve:
		op.Unreserve = &resource.Unreserve{Resources: resources}
	case resource.OpCreate:
		op.Create = &resource.Create{Volumes: resources}
	case resource.OpDestroy:
		op.Destroy = &resource.Destroy{Volumes: resources}
	}
	return op, nil
}

// resourcesIn reads one field of a form; one that is not there has none.
func resourcesIn(fields url.Values, name string) (list []resource.Resource, err error) {
	text := fields.Get(name)
	if !fields.Has(name) {
		return nil, nil
	}
	if err := wire.Decode([]byte(text), &list); err != nil {
		return nil, invalid("Error in parsing '%s' query parameter in the request body: %v", name, err)
	}
	return list, nil
}
