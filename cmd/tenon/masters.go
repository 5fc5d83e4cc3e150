package main

import (
	"errors"

	"tenon/agent/config"
	"tenon/agent/master"
	"tenon/agent/master/etcd"
	"tenon/agent/master/webhook"
	"tenon/agent/wire"
)

// kinds are the kinds of masters that there are, by the schemes of their URLs.
func kinds() master.Kinds {
	return master.Kinds{"http": webhook.New, "https": webhook.New, "etcd": etcd.New, "etcds": etcd.New}
}

// membersOf makes the clients of all masters that are configured. Nobody is reached out to.
func membersOf(cfg config.Config) ([]master.Member, error) {
	var members []master.Member
	var errs []error
	for _, m := range cfg.Masters {
		member, err := kinds().New(master.Config{Name: m.Name, URL: m.URL, Principal: m.Principal, Interval: m.Interval, Heartbeat: m.Heartbeat,
			SecretFile: m.SecretFile, CAFile: m.CAFile, CertFile: m.CertFile, KeyFile: m.KeyFile})
		errs = append(errs, err)
		members = append(members, member)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return members, nil
}

// newSupervisor is what runs the clients of all masters.
func newSupervisor(d daemon) (*master.Supervisor, error) {
	members, err := membersOf(d.cfg)
	if err != nil {
		return nil, err
	}
	return master.NewSupervisor(master.Options{Agent: d.Agent, Members: members, ACLs: d.cfg.ACLs, Audit: d.audit, Version: version(), Log: d.log})
}

// toldOf tells how it stands with the masters.
func toldOf(s *master.Supervisor) []wire.Master {
	var list []wire.Master
	for _, m := range s.Status() {
		list = append(list, wire.Master(m))
	}
	return list
}
