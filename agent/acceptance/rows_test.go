package acceptance

import "slices"

// rows are the table: what shows each case, or why nothing does.
func rows() []row {
	return slices.Concat(volumeRows(), endpointRows(), reservationRows(), arithmeticRows(), validationRows(),
		allocationRows(), mountRows(), pathRows(), gidRows(), quotaRows(), recoveryRows(), feedbackRows(),
		accessRows(), registrationRows(), newRows())
}

// masters are cases that no agent can show, for one reason.
func masters(why string, ids ...string) []row { return unshown(byMaster, why, ids) }

// missing are cases about something that does not exist yet.
func missing(why string, ids ...string) []row { return unshown(notBuilt, why, ids) }

func unshown(w who, why string, ids []string) (all []row) {
	for _, id := range ids {
		all = append(all, row{id: id, who: w, why: why})
	}
	return all
}

func volumeRows() []row {
	return slices.Concat(
		missing("not built yet", "PV-01", "PV-02", "PV-03", "PV-04", "PV-05", "PV-06", "PV-07", "PV-08", "PV-09", "PV-10", "PV-11",
			"PV-13", "PV-14", "PV-15", "PV-16", "PV-18", "PV-19", "PV-20", "PV-22", "PV-23", "PV-24", "PV-25", "PV-26", "PV-27", "PV-28", "PV-29"),
		masters("an agent has no offers to take back", "PV-17"),
		missing("the client of a Mesos master is not built yet", "PV-12", "PV-21"),
	)
}

func endpointRows() []row {
	return slices.Concat(
		missing("the operator endpoints are not built yet", "EP-01", "EP-02", "EP-03", "EP-04", "EP-05", "EP-06", "EP-07", "EP-08", "EP-09", "EP-10",
			"EP-11", "EP-12", "EP-13", "EP-14", "EP-17", "EP-18", "EP-19", "EP-20"),
		masters("totals of a master's allocator", "EP-15"),
		masters("a master's list of its agents", "EP-16"),
		masters("a scheduler subscribed to a master", "EP-21"),
	)
}

func reservationRows() []row {
	return slices.Concat(
		missing("not built yet", "RS-01", "RS-02", "RS-03", "RS-05", "RS-06", "RS-08", "RS-09", "RS-10", "RS-11", "RS-12", "RS-14",
			"RS-17", "RS-18", "RS-19", "RS-20", "RS-21", "RS-22", "RS-23", "RS-24", "RS-25"),
		masters("who is offered what is an allocator's affair", "RS-04"),
		masters("only a master knows a framework's roles", "RS-13"),
		missing("the client of a Mesos master is not built yet", "RS-07"),
		missing("the Mesos wire protocol is not built yet", "RS-15"),
		missing("files of a Mesos agent are not read", "RS-16"),
	)
}

func arithmeticRows() []row {
	return slices.Concat([]row{
		{id: "RA-01", check: textAndJSONReadAlike},
		{id: "RA-02", check: malformedListsAreErrors},
		{id: "RA-03", check: printingIsMesos},
		{id: "RA-04", check: valuesAreAlgebra},
		{id: "RA-05", check: invalidIsNotAdded},
		{id: "RA-06", check: sumsAreExact},
		{id: "RA-07", check: almostNothingIsAnError},
		{id: "RA-08", check: absentIsNone},
		{id: "RA-09", check: reservationsFilter},
		{id: "RA-10", check: providersKeepApart},
		{id: "RA-11", check: reservedResourcesKeepApart},
		{id: "RA-12", check: onlyDiskHasDiskInfo},
		{id: "RA-13", check: identityOfVolumes},
		{id: "RA-14", check: identityOfSources},
		{id: "RA-15", check: whatMerges},
		{id: "RA-16", check: whatComesOffWhole},
		{id: "RA-22", check: plainAmounts},
		{id: "RA-23", check: formatsOfReservations},
		{id: "RA-24", check: refinementsHaveNoOldFormat},
		{id: "RA-25", check: copiesAreCounted},
		{id: "RA-26", check: sharedPrints},
		{id: "RA-27", check: copiesAddUp},
		{id: "RA-28", check: copiesComeOff},
		{id: "RA-29", check: compoundExpressions},
		{id: "RA-30", check: differentSharedVolumes},
		{id: "RA-31", check: sharedAndExclusiveTwins},
		{id: "RA-32", check: filtersOfShared},
		{id: "RA-33", check: allocationCounts},
		{id: "RA-34", check: ancestorsAndRevocables},
	},
		missing("operations on sets are not built yet", "RA-17", "RA-18", "RA-19", "RA-20", "RA-21"),
	)
}

func validationRows() []row {
	return slices.Concat(
		missing("not built yet", "VA-01", "VA-02", "VA-03", "VA-04", "VA-05", "VA-06", "VA-07", "VA-08", "VA-09", "VA-11", "VA-12", "VA-13",
			"VA-14", "VA-15", "VA-16", "VA-19"),
		masters("only a master knows a framework's capabilities", "VA-10"),
		masters("what a task may use of an offer", "VA-17"),
		masters("checks of other agents' registrations", "VA-18"),
		masters("about agents that lack the capability", "VA-20"),
	)
}

func allocationRows() []row {
	return masters("allocation among frameworks", "AL-01", "AL-02", "AL-03", "AL-04", "AL-05", "AL-06", "AL-07", "AL-08", "AL-09")
}

func mountRows() []row {
	return missing("not built yet", "MT-01", "MT-02", "MT-03", "MT-04", "MT-05", "MT-06", "MT-07", "MT-08", "MT-09", "MT-10", "MT-11", "MT-12", "MT-13",
		"MT-14", "MT-15", "MT-16", "MT-17", "MT-18", "MT-19", "MT-20", "MT-21", "MT-22", "MT-23", "MT-24", "MT-25")
}

func pathRows() []row { return missing("not built yet", "PA-01", "PA-02", "PA-03", "PA-04") }

func gidRows() []row {
	return missing("owners of volumes by group or id mapping are not built yet", "GI-01", "GI-02", "GI-03", "GI-04", "GI-05", "GI-06")
}

func quotaRows() []row {
	return missing("limits of size are not enforced yet", "QU-01", "QU-02", "QU-03", "QU-04", "QU-05", "QU-06", "QU-07", "QU-08", "QU-09",
		"QU-10", "QU-11", "QU-12", "QU-13", "QU-14", "QU-15", "QU-16")
}

func recoveryRows() []row {
	return missing("not built yet", "RE-01", "RE-02", "RE-03", "RE-04", "RE-05", "RE-06", "RE-07", "RE-08", "RE-09", "RE-10", "RE-11", "RE-12", "RE-13",
		"RE-14", "RE-15")
}

func feedbackRows() []row {
	return missing("not built yet", "OP-01", "OP-02", "OP-03", "OP-04", "OP-05", "OP-06", "OP-07", "OP-08", "OP-09", "OP-10", "OP-11", "OP-12", "OP-13")
}

func accessRows() []row { return missing("not built yet", "AU-01", "AU-02", "AU-03", "AU-04", "AU-05") }

func registrationRows() []row {
	return missing("not built yet", "RG-01", "RG-02", "RG-03", "RG-04", "RG-05", "RG-06", "RG-07", "RG-08")
}

func newRows() []row {
	return missing("not built yet", "NEW-01", "NEW-02", "NEW-03", "NEW-04", "NEW-05", "NEW-06", "NEW-07", "NEW-08", "NEW-09", "NEW-10", "NEW-11",
		"NEW-12", "NEW-13", "NEW-14", "NEW-15", "NEW-16")
}
