package main

import (
	"fmt"
	"sort"
	"sync"
)

// seen is what a member has handled since it was last asked, and what it has now.
type seen struct {
	Values   []string `json:"values"`
	Assigned []string `json:"assigned"`
	Failure  *string  `json:"failure"`
}

// handled is the part that the members of both libraries have in common.
type handled struct {
	mutex    sync.Mutex
	values   []string
	assigned map[string]bool
	failure  error
}

func (h *handled) handle(value []byte) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.values = append(h.values, string(value))
}

func (h *handled) fail(err error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.failure == nil {
		h.failure = err
	}
}

// gain and lose change what is assigned; lose(nil) takes all.
func (h *handled) gain(partitions map[string][]int32) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.assigned == nil {
		h.assigned = map[string]bool{}
	}
	for _, name := range names(partitions) {
		h.assigned[name] = true
	}
}

func (h *handled) lose(partitions map[string][]int32) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if partitions == nil {
		h.assigned = nil
	}
	for _, name := range names(partitions) {
		delete(h.assigned, name)
	}
}

func (h *handled) look() seen {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	now := seen{Values: append([]string{}, h.values...), Assigned: []string{}}
	h.values = nil
	for name := range h.assigned {
		now.Assigned = append(now.Assigned, name)
	}
	sort.Strings(now.Assigned)
	if h.failure != nil {
		text := h.failure.Error()
		now.Failure = &text
	}
	return now
}

func names(partitions map[string][]int32) []string {
	var all []string
	for topic, numbers := range partitions {
		for _, number := range numbers {
			all = append(all, fmt.Sprintf("%s-%d", topic, number))
		}
	}
	return all
}
