package config

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"tenon/agent/resource"
)

// maxList is the most that a file of resources may have, in bytes.
const maxList = 1 << 20

// parseResources reads what the agent is to offer: in Mesos' text or JSON, or where a
// file with one of them is (spec.md 1.10).
func parseResources(s string) ([]resource.Resource, error) {
	if path, ok := strings.CutPrefix(s, "file://"); ok {
		content, err := readList(path)
		if err != nil {
			return nil, err
		}
		list, err := parseList(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return list, nil
	}
	return parseList(s)
}

func parseList(s string) ([]resource.Resource, error) {
	list, err := resource.ParseList(s)
	if err != nil || len(list) == 0 {
		return nil, err // an empty list says as little as none
	}
	return list, resource.CheckConfigured(list)
}

// readList reads a regular file: another could be endless, or never begin.
func readList(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is not an absolute path: write file:///…", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxList {
		return "", fmt.Errorf("%s has more than %d bytes", path, maxList)
	}
	return string(b), nil
}

// formatResources is what parseResources reads back.
func formatResources(list []resource.Resource) string {
	if len(list) == 0 {
		return ""
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(fmt.Sprintf("cannot happen: a resource that does not marshal: %v", err))
	}
	return string(b)
}

// formatAttributes is what resource.ParseAttributes reads back.
func formatAttributes(list []resource.Attribute) string {
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	return strings.Join(words, ";")
}
