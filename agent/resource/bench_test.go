package resource

import (
	"encoding/json"
	"fmt"
	"testing"
)

func BenchmarkResourceUnmarshal(b *testing.B) {
	data, err := json.Marshal(sharedVolume(2048, "v"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var r Resource
		if err := r.UnmarshalJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSetOf(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		var list []Resource
		for i := range n {
			list = append(list, sharedVolume(64, fmt.Sprint("v", i)))
		}
		b.Run(fmt.Sprint("volumes=", n), func(b *testing.B) {
			for b.Loop() {
				if SetOf(list...).Len() != n {
					b.Fatal("volumes merged")
				}
			}
		})
	}
}
