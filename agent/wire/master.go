package wire

import "time"

// Master is how it stands with one of the masters that the agent reports to.
type Master struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`      // scheme of its URL
	URL       string `json:"url"`       // without secrets
	Principal string `json:"principal"` // as whom it asks
	Connected bool   `json:"connected"` // it was heard from, and not lost since

	// LastContact is when it was heard from. A Status has it of a master that is lost only,
	// and so stays the same while nothing is wrong.
	LastContact time.Time `json:"last_contact,omitzero"`

	// Incomplete is what it cannot be told, and why, as long as that is so.
	Incomplete string `json:"incomplete,omitempty"`

	LastError string    `json:"last_error,omitempty"`   // the last one, however long ago
	ErrorAt   time.Time `json:"last_error_at,omitzero"` // when that was
	Restarts  uint64    `json:"restarts"`               // how often its client was started again
}

// Masters is the list of masters, in the order of the configuration.
type Masters struct {
	Masters []Master `json:"masters"`
}
