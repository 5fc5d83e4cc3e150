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

// Why cases are missing.
const (
	noWire   = "the protocol between Mesos' masters and agents is not spoken yet"
	noQuota  = "sandboxes have no limit of their own"
	noImages = "containers with root file systems of their own are not built yet"
	noNested = "volumes of paths in sandboxes and on the host are not built yet"
)

func volumeRows() []row {
	const onMount = "the root of a MOUNT disk stays too, with the agent's marker; the volume is a directory in it, as on any disk"
	return slices.Concat([]row{
		{id: "PV-01", each: bothAreMade, elsewhere: []string{"agent/pool.TestMakeSetsOwnerAndModeWhateverTheUmask"}},
		{id: "PV-02", each: oneIsDestroyed, better: onMount},
		{id: "PV-03", check: growByTheRest},
		{id: "PV-04", check: shrinkByAPart},
		{id: "PV-05", check: mountDisksKeepTheirSize},
		{id: "PV-06", check: grownInTheSameRequest, better: "a task may use the new size at once; one on the old size refuses the whole request"},
		{id: "PV-07", check: shrunkInTheSameRequest, better: "a task may use the new size at once; one on the old size refuses the whole request"},
		{id: "PV-08", check: mayResize},
		{id: "PV-09", check: mayNotResize, better: "a request is done whole or not at all"},
		{id: "PV-10", each: volumesSurvive},
		{id: "PV-11", each: directoryIsTheVolumesOwn, better: "the directory is named by a UUID that nothing ever changes"},
		{id: "PV-13", each: lessAfterAReboot},
		{id: "PV-14", each: madeAndUsedInOneRequest, elsewhere: []string{"agent/host.TestASharedVolumeInTwoSandboxes", "cmd/tenon.TestScripts/main_job"}},
		{id: "PV-15", each: usedAndLeft, elsewhere: []string{"agent/host.TestASharedVolumeInTwoSandboxes"}, better: onMount},
		{id: "PV-16", check: twoTasksOfOneRequest, elsewhere: []string{"agent/host.TestASharedVolumeInTwoSandboxes"}},
		{id: "PV-18", each: usedAtTheSameTime},
		{id: "PV-19", each: countedOnce},
		{id: "PV-20", elsewhere: byGroup, better: ownersAlone},
		{id: "PV-22", each: destroyedBesideOneInUse},
		{id: "PV-23", each: destroyedAfterTheLastTask},
		{id: "PV-24", each: oneAfterTheOther},
		{id: "PV-25", each: tasksNoticeNothing, elsewhere: []string{"cmd/tenon.TestTasksDoNotNoticeThatTheAgentIsKilled"}},
		{id: "PV-26", each: mayMake},
		{id: "PV-27", each: anyoneMay},
		{id: "PV-28", each: mayNotMake("")},
		{id: "PV-29", each: mayNotMake("dev")},
	},
		masters("an agent has no offers to take back", "PV-17"),
		missing(noWire, "PV-12", "PV-21"),
	)
}

func endpointRows() []row {
	const noPasswords = "who asks is told by the kernel or by a certificate, and somebody unknown is forbidden"
	strangers := []string{"agent/api.TestAForeignUserIsRefusedBeforeTheBodyIsRead", "agent/api.TestSomebodyWhoseCredentialsAreUnknownIsRefused"}
	return slices.Concat([]row{
		{id: "EP-01", check: volumesOnStatic},
		{id: "EP-02", check: volumesOnDynamic},
		{id: "EP-03", check: volumeOfAnotherRole},
		{id: "EP-04", check: unreserveBeneathAVolume},
		{id: "EP-05", check: volumesOfNobody},
		{id: "EP-06", check: volumeLargerThanItsReservation},
		{id: "EP-07", check: destroyOfAnother},
		{id: "EP-08", elsewhere: strangers, better: noPasswords},
		{id: "EP-09", check: allowedByRules},
		{id: "EP-10", check: deniedByRules},
		{id: "EP-11", elsewhere: strangers, better: noPasswords},
		{id: "EP-12", check: volumesOnDynamic},
		{id: "EP-13", check: missingFields},
		{id: "EP-14", check: endpointAndOperation},
		{id: "EP-17", check: callsOfV1},
		{id: "EP-18", check: resizesOfV1},
		{id: "EP-19", check: bothFormatsOfV1},
	},
		masters("totals of a master's allocator", "EP-15"),
		masters("a master's list of its agents", "EP-16"),
		masters("an authorizer of its own, which can fail", "EP-20"),
		masters("a scheduler subscribed to a master", "EP-21"),
	)
}

func reservationRows() []row {
	return slices.Concat([]row{
		{id: "RS-01", check: reserveAndUnreserve},
		{id: "RS-02", check: tenthsAddUp, better: "with disk, the one resource that it reserves"},
		{id: "RS-03", check: reservedAndUsedInOneRequest},
		{id: "RS-05", check: reserveTooMuch},
		{id: "RS-06", check: reservationsSurvive},
		{id: "RS-08", check: moreIsCompatible},
		{id: "RS-09", check: lessIsIncompatible},
		{id: "RS-10", check: mayReserve},
		{id: "RS-11", check: oneForbiddenRefusesAll, better: "a request is done whole or not at all"},
		{id: "RS-12", check: withoutRules},
		{id: "RS-14", check: aliensStay},
		{id: "RS-17", check: volumesOnDynamic, better: "there are no offers: what is free is available"},
		{id: "RS-18", check: labelsKeepApart},
		{id: "RS-19", check: badReservations},
		{id: "RS-20", check: reservingUnderRules, elsewhere: []string{"agent/api.TestSomebodyWhoseCredentialsAreUnknownIsRefused"},
			better: "somebody unknown is forbidden, as there are no passwords"},
		{id: "RS-21", check: principalsThatDoNotMatch},
		{id: "RS-22", check: anyPrincipalWillDo},
		{id: "RS-23", check: principalsKeepApart},
		{id: "RS-24", check: stateInMesosWords, better: "it is GET /v1/resources"},
		{id: "RS-25", check: reservationsMove},
	},
		masters("who is offered what is an allocator's affair", "RS-04"),
		masters("only a master knows a framework's roles", "RS-13"),
		missing(noWire, "RS-07", "RS-15"),
		missing("files of a Mesos agent are not read", "RS-16"),
	)
}

func arithmeticRows() []row {
	return []row{
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
		{id: "RA-17", check: applyReserve},
		{id: "RA-18", check: applyCreate},
		{id: "RA-19", check: applyCreateOnMount},
		{id: "RA-20", check: applyCreateShared},
		{id: "RA-21", check: applyDestroyOfCopies},
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
	}
}

func validationRows() []row {
	return slices.Concat([]row{
		{id: "VA-01", check: reservationsAreValid},
		{id: "VA-02", check: whatMakesAVolume},
		{id: "VA-03", check: onlyVolumesAreShared},
		{id: "VA-04", check: providersAreOthers, better: "resources of any provider are refused, as the agent has none"},
		{id: "VA-06", check: whatReserveAsks},
		{id: "VA-07", check: whatUnreserveAsks},
		{id: "VA-08", check: idsAreUniqueInTheirRole},
		{id: "VA-09", check: whoMakesAVolume},
		{id: "VA-11", check: moreThanThereIs},
		{id: "VA-12", check: hierarchiesAndAllocation, better: "role hierarchies always work, and whose offer it was does not matter"},
		{id: "VA-13", check: destroyIsOfVolumesThatAreThere},
		{id: "VA-14", check: sharedInUseStays},
		{id: "VA-15", check: whatGrowAsks, better: "a shared volume grows too, even in use"},
		{id: "VA-16", check: whatShrinkAsks, better: "a shared volume that nobody uses shrinks too, and none below its data"},
	},
		missing(noNested, "VA-19"),
		masters("ports and sets are offered by masters alone", "VA-05"),
		masters("only a master knows a framework's capabilities", "VA-10"),
		masters("what a task may use of an offer", "VA-17"),
		masters("checks of agents' registrations", "VA-18"),
		masters("about agents that lack the capability", "VA-20"),
	)
}

func allocationRows() []row {
	return masters("allocation among frameworks", "AL-01", "AL-02", "AL-03", "AL-04", "AL-05", "AL-06", "AL-07", "AL-08", "AL-09")
}
