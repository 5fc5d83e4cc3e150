package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// everything stands for a size that is all that there is.
const everything = "all"

// sizeText is a size as it may be typed back: in the largest unit if two decimals say all of
// it, and else in MiB, of which the agent counts thousandths.
func sizeText(b resource.Bytes) string {
	text := b.String()
	if same, err := resource.ParseBytes(text); err == nil && same == b {
		return text
	}
	return b.Scalar().String() + " MiB"
}

// shortSize is a size in few digits: all of it where that is short, and else in the largest unit,
// cut to two decimals, so that as much may be asked for.
func shortSize(b resource.Bytes) string {
	const short, large = len("1024.5 MiB"), 10 << 30
	if text := sizeText(b); len(text) <= short && b < large {
		return text
	}
	return b.String()
}

// sizeToCarve reads --size of a volume that is to be made; all of it is the largest piece
// that is reserved for its role on its disk.
func sizeToCarve(c *cli.Context, api *client.Client, request wire.CreateVolume) (resource.Bytes, error) {
	if c.String("size") != everything {
		size, err := resource.ParseBytes(c.String("size"))
		if err != nil {
			return 0, misused(c, "%v", err)
		}
		return size, nil
	}
	st, err := api.Status(c.Context)
	if err != nil {
		return 0, err
	}
	_, name, err := sourceOf(st, request.Disk)
	if err != nil {
		return 0, err
	}
	if size := largestPiece(st, request.Role, name); size > 0 {
		return size, nil
	}
	return 0, adviseOnCreate(c.Context, &volume.Error{Kind: volume.ErrInsufficient,
		Message: fmt.Sprintf("disk %s has nothing reserved for role %s that is free", name, request.Role)}, api, request)
}

// largestPiece is the most that one volume of a role can have of a disk.
func largestPiece(st wire.Status, role, disk string) (most resource.Bytes) {
	for _, r := range st.Reservations {
		if r.Role == role && r.Disk == disk {
			most = max(most, r.Free)
		}
	}
	return most
}

// adviseOnCreate says, where a disk has no room for a volume, which other one has.
func adviseOnCreate(ctx context.Context, err error, api *client.Client, request wire.CreateVolume) error {
	switch volume.Kind(err) {
	case volume.ErrNotFound:
		return advice{err, []string{"see which disks there are: tenon status"}}
	case volume.ErrInsufficient:
	default:
		return advise(err)
	}
	st, failed := api.Status(ctx)
	if failed != nil {
		return advise(err)
	}
	return advice{err, append(roomElsewhere(st, request), nextSteps[volume.ErrInsufficient])}
}

// roomElsewhere has a line for each disk that has room for a volume, and one if the disk
// that was asked for is one of which only all can be had.
func roomElsewhere(st wire.Status, request wire.CreateVolume) (lines []string) {
	_, asked, err := sourceOf(st, request.Disk)
	if err != nil {
		return nil
	}
	for _, d := range st.Disks {
		size := largestPiece(st, request.Role, d.Name)
		whole := strings.HasPrefix(d.Key, string(resource.SourceMount)+":")
		switch {
		case size == 0 || d.Fault != nil:
		case whole && d.Name == asked:
			lines = append(lines, fmt.Sprintf("a volume there has the whole disk, %s: --size %s", shortSize(size), everything))
		case d.Name == asked || size < request.Size:
		default:
			line := fmt.Sprintf("role %s has %s on %s: --disk %s", clean(request.Role), shortSize(size), clean(d.Name), clean(directory(d.Name)))
			if whole {
				line += " --size " + everything
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// directory is a disk as people type it: by its directory.
func directory(disk string) string {
	_, dir, found := strings.Cut(disk, ":")
	if !found {
		return disk
	}
	return dir
}

// plainDisk is a disk as somebody has typed it, without slashes at its end.
func plainDisk(name string) string {
	if plain := strings.TrimRight(name, "/"); plain != "" {
		return plain
	}
	return name
}
