package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"tenon/agent/access"
)

const principalDoc = `
# Who a user of the socket is, to the ACLs, to reservations and to volumes: the name of
# the first entry whose uid and gid are the user's, as far as it has them.
`

const principalExample = `#
# [[principal]]
# name = "ops"
# gid = 1000
`

const aclDoc = `
# Who may do what, as in Mesos' ACLs: the first rule whose principals match decides by
# its objects; "a/%" is all roles beneath a. What no rule decides is allowed, unless
# permissive is false.
`

const aclExample = `#
# [acl]
# permissive = false
#
# [[acl.create_volumes]]
# principals = ["ops"]
# roles = ["web", "web/%"]
#
# [[acl.destroy_volumes]]
# principals = ["ops"]
# creator_principals = "ANY"
#
# [[acl.view_roles]]
# principals = "ANY"
# roles = "ANY"
`

// applyAccess replaces the principals and the ACLs by the document's, as far as it has any.
func applyAccess(c *Config, file string, d document) error {
	if d.Principal != nil {
		c.Principals = d.Principal
	}
	if d.ACL == nil {
		return nil
	}
	acls, err := access.ParseTable(d.ACL)
	if err != nil {
		return prefixed(file+": acl: ", err)
	}
	c.ACLs = acls
	return nil
}

// checkAccess wants principals that may be, and ACLs that a table can say.
func (c Config) checkAccess() error {
	_, err := access.ParseTable(aclTable(c.ACLs))
	return errors.Join(prefixed("", c.Principals.Validate()), prefixed("acl: ", err))
}

// prefixed puts the same before each of several errors, with each on one line.
func prefixed(prefix string, err error) error {
	if err == nil {
		return nil
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	var lines []error
	for _, err := range all {
		lines = append(lines, errors.New(prefix+strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	return errors.Join(lines...)
}

// writeAccess writes what applyAccess reads back, or examples.
func writeAccess(b *strings.Builder, c Config) error {
	b.WriteString(principalDoc)
	if len(c.Principals) == 0 {
		b.WriteString(principalExample)
	}
	for _, m := range c.Principals {
		entry, err := toml.Marshal(m)
		if err != nil {
			return fmt.Errorf("write principal %s: %w", m.Name, err)
		}
		fmt.Fprintf(b, "\n[[principal]]\n%s", entry)
	}
	b.WriteString(aclDoc)
	if !c.ACLs.Strict && len(c.ACLs.Rules) == 0 {
		b.WriteString(aclExample)
		return nil
	}
	table, err := toml.Marshal(map[string]any{"acl": aclTable(c.ACLs)})
	if err != nil {
		return fmt.Errorf("write acl: %w", err)
	}
	fmt.Fprintf(b, "\n%s", table)
	return nil
}

// aclTable is what access.ParseTable reads back.
func aclTable(a access.ACLs) map[string]any {
	table := map[string]any{"permissive": !a.Strict}
	for action, rules := range a.Rules {
		var list []any
		for _, r := range rules {
			list = append(list, map[string]any{"principals": entity(r.Principals), objectsOf(action): entity(r.Objects)})
		}
		table[string(action)] = list
	}
	return table
}

// objectsOf is what the objects of an action's rules are called.
func objectsOf(action access.Action) string {
	switch action {
	case access.Unreserve:
		return "reserver_principals"
	case access.Destroy:
		return "creator_principals"
	}
	return "roles"
}

// entity is one side of a rule as it stands in a table.
func entity(e access.Entity) any {
	switch e.Type {
	case access.Any:
		return "ANY"
	case access.None:
		return "NONE"
	}
	values := []any{}
	for _, v := range e.Values {
		values = append(values, v)
	}
	return values
}
