package resource

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestParseBytesReadsWhatPeopleWrite(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Bytes{
		"2048": 2048 * MiB, "0": 0, "0.5": MiB / 2, "100GiB": 100 << 30, "100 GiB": 100 << 30, "512M": 512 * MiB, "512m": 512 * MiB,
		"512mib": 512 * MiB, "1K": 1024, "3T": 3 << 40, "1.5 GiB": 3 << 29, "4096B": 4096, "4096b": 4096, "0.1KiB": 102, "1.9B": 1,
		"9223372036854775807B": math.MaxInt64, "8388607TiB": 8388607 << 40,
	} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", text, int64(got), err, int64(want))
		}
	}
}

func TestParseBytesRefusesTheRest(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "G", "-1G", "+1G", "1GB", "1P", "1 G i B", "1e3", "1.G", ".5G", "1.0000001G", "0x10", "1,5G", "NaN", "inf",
		"9223372036854775808B", "8388608TiB", "99999999999999999999", "18446744073709551615T", "8388607.9999999T",
	} {
		if got, err := ParseBytes(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseBytes(%q) = %d, %v; want an ErrInvalid", text, int64(got), err)
		}
	}
}

func TestBytesPrintAsPeopleReadThem(t *testing.T) {
	t.Parallel()
	for b, want := range map[Bytes]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 2 << 30: "2 GiB", 3 << 29: "1.5 GiB", 100 * MiB: "100 MiB", 1234567: "1.17 MiB", math.MaxInt64: "8388607.99 TiB",
		5 << 50: "5120 TiB", -5: "-5 B", 10 << 30: "10 GiB",
	} {
		if got := b.String(); got != want {
			t.Errorf("Bytes(%d).String() = %q, want %q", int64(b), got, want)
		}
	}
}

func TestPrintedBytesReadBackToTwoDecimals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := Bytes(rapid.Int64Range(0, math.MaxInt64).Draw(t, "bytes"))
		back, err := ParseBytes(b.String())
		if err != nil {
			t.Fatal(err)
		}
		lost := Bytes(0) // at most a hundredth of the unit, and what reading cuts off
		for _, u := range units {
			if b >= u.size {
				lost = u.size/100 + 1
				break
			}
		}
		if back > b || b-back > lost {
			t.Fatalf("%d prints as %s, which is %d", int64(b), b, int64(back))
		}
	})
}

func TestScalarsAndBytesConvertWithoutInventingSpace(t *testing.T) {
	t.Parallel()
	for s, want := range map[Scalar]Bytes{0: 0, -One: 0, One: MiB, 1: 1048, 1500: MiB * 3 / 2, MaxScalar: 1 << 62, 1000 << 44: math.MaxInt64, math.MaxInt64: math.MaxInt64} {
		if got := s.Bytes(); got != want {
			t.Errorf("Scalar(%s).Bytes() = %d, want %d", s, int64(got), int64(want))
		}
	}
	for b, want := range map[Bytes]Scalar{0: 0, -1: 0, 1: 1, 1048: 1, 1049: 2, MiB: One, MiB + 1: One + 1, math.MaxInt64: 8796093022208000} {
		if got := b.Scalar(); got != want {
			t.Errorf("Bytes(%d).Scalar() = %s, want %s", int64(b), got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Scalar(rapid.Int64Range(0, 8796093022207999).Draw(t, "scalar"))
		if back := s.Bytes().Scalar(); back != s {
			t.Fatalf("%s is %d bytes, which is %s", s, int64(s.Bytes()), back)
		}
		b := Bytes(rapid.Int64().Draw(t, "bytes"))
		if back := b.Scalar().Bytes(); back < b || b > 0 && back-b > 1048 {
			t.Fatalf("%d bytes is %s, which is %d bytes", int64(b), b.Scalar(), int64(back))
		}
	})
}
