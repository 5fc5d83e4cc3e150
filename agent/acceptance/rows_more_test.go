package acceptance

import (
	"slices"
	"testing"
)

func mountRows() []row {
	return slices.Concat([]row{
		{id: "MT-02", elsewhere: []string{"agent/host.TestASharedVolumeInTwoSandboxes", "cmd/tenon.TestScripts/main_job"}},
		{id: "MT-04", elsewhere: []string{"isolator/sandbox.TestARootIsMadeOnceAndMountedOnce", "mount.TestSelfMountDoesNotStackAndUnmountTakesItAway",
			"mount.TestSelfMountIsPrivateEvenBelowASharedMount"}, better: "the mount is private, so that nothing propagates"},
		{id: "MT-05", elsewhere: []string{"agent/host.TestARestartFindsMountsAndDataAsTheyWere", "mount.TestALazyDetachTakesABusyMount"},
			better: "a busy mount is refused with the process that keeps it, and taken where that is asked for"},
		{id: "MT-07", elsewhere: []string{"agent/host.TestASandboxThatOutlivedItsRecordGoesAndAUsersDirectoryStays", "cmd/tenon.TestKilledAtEveryStepTheAgentConverges"}},
		{id: "MT-09", elsewhere: []string{"agent/host.TestASharedVolumeInTwoSandboxes", "mount.TestAReadOnlyTreeIsNeverWritable"}},
		{id: "MT-10", elsewhere: byGroup, better: ownersAlone},
		{id: "MT-19", elsewhere: byGroup, better: ownersAlone},
		{id: "MT-22", elsewhere: []string{"agent/host.TestAMountIsFoundWhereATaskHasMovedIt", "isolator/sandbox.TestRemoveIsRefusedWholeWhileAnythingIsMountedInside"},
			better: "a mount is found wherever it was moved, and no sandbox is removed while one is inside"},
		{id: "MT-23", elsewhere: []string{"mount.TestBothWaysOfLookingTellTheSame", "mount.TestLookupTellsWhatWasMounted", "mount.TestAtSeesAReadOnlyFilesystem",
			"mount.TestCloneOfASharedMountIsPrivate"}, better: "mounts are asked for one by one, the table is not searched"},
		{id: "MT-24", elsewhere: []string{"agent.TestWhatCannotBeMadeIsTakenBack", "agent.TestWhatCannotBeRemovedStaysRecordedAndIsTold"}},
		{id: "MT-25", elsewhere: []string{"cmd/tenon.TestScripts/main_job"}},
	},
		missing(noImages, "MT-01", "MT-06", "MT-11", "MT-12"),
		missing(noNested, "MT-03", "MT-13", "MT-14", "MT-15", "MT-16", "MT-17", "MT-18", "MT-20"),
		missing(noQuota, "MT-08"),
		missing("health checks are not built", "MT-21"),
	)
}

func pathRows() []row {
	return []row{
		{id: "PA-01", check: func(t *testing.T) {
			for _, kind := range kinds {
				directoryIsTheVolumesOwn(t, kind)
			}
		}, better: "the directory is named by a UUID, whatever its role and id"},
		{id: "PA-02", elsewhere: []string{"checkpoint.TestJournalsOfAllVersionsLoad", "agent/pool.TestFormatMakesAPoolOfWhichRootAloneSeesTheInside"},
			better: "one journal, and one marker for each disk"},
		{id: "PA-03", check: rolesThatOverlapAsPaths, better: "no role is part of a path"},
		{id: "PA-04", check: anyRoleWillDo},
	}
}

// byGroup are the tests in which users share a volume by a group of its own.
var byGroup = []string{"agent/host.TestTwoUsersShareAVolumeByItsGroup", "cmd/tenon.TestScripts/user"}

const ownersAlone = "a volume has its group from when it is made; an exclusive one is its owner's, and needs none"

func gidRows() []row {
	return slices.Concat([]row{
		{id: "GI-01", elsewhere: []string{"agent/config.TestARangeOfGroupsThatCannotBeIsRefused", "cmd/tenon.TestScripts/own"}},
		{id: "GI-02", elsewhere: byGroup, better: ownersAlone},
		{id: "GI-05", elsewhere: []string{"agent/volume.TestGroupsThatCannotBeGivenAreRefused", "cmd/tenon.TestScripts/own"},
			better: "the CREATE is refused, before there is a task"},
		{id: "GI-06", elsewhere: byGroup, better: ownersAlone},
	}, missing(noNested, "GI-03", "GI-04"))
}

func quotaRows() []row {
	const whileOff, later = "agent.TestAnExceededVolumeIsToldAndItsWritersGoOnWhereThatIsAll", "agent.TestAnotherAgentGoesOnWithWhatIsExceeded"
	killed := []string{"agent.TestWritersOfAnExceededVolumeAreKilledWhereThatFollows", "agent/volume.TestTasksThatMayWriteAreKilledWhereThatFollows", "cmd/tenon.TestScripts/soft"}
	return slices.Concat([]row{
		{id: "QU-01", elsewhere: []string{"mount.TestMeasureCountsEveryKindOfEntryOnce", "mount.TestMeasureOfARandomTreeIsThatByPaths", "mount.TestMeasureIsNotLedOutByAMovedDirectory"},
			better: "a volume is measured by itself, so nothing has to be excluded"},
		{id: "QU-03", elsewhere: killed, better: "a volume says what follows; a task in a cgroup of the agent's is killed"},
		{id: "QU-04", elsewhere: []string{whileOff}},
		{id: "QU-06", elsewhere: []string{later, "cmd/tenon.TestScripts/soft"}},
		{id: "QU-07", elsewhere: []string{"isolator/quota.TestALimitIsRoundedUpToWholeBlocks", "isolator/quota.TestAProjectIsClearedWhenNothingIsLeftOfIt",
			"isolator/quota.TestAllThatIsInADirectoryIsAssignedAndNothingElse"}},
		{id: "QU-09", elsewhere: []string{"agent/host.TestLimitHoldsAVolumeToItsSizeAndMovesUnderItsTask"},
			better: "the write fails, and the task goes on if it can; the project is free when the volume is gone"},
		{id: "QU-10", elsewhere: killed, better: "where quotas are on the write fails; tasks are killed where measuring alone tells, and the event names the volume and the tasks"},
		{id: "QU-12", elsewhere: []string{whileOff, "agent/host.TestLimitsCountWhatVolumesTake"}},
		{id: "QU-13", elsewhere: []string{later, "agent.TestLimitsThatAreSwitchedOnLaterAreUsedWithoutARestart", "agent/host.TestLimitsThatAreSwitchedOnLaterHold"},
			better: "limits that are switched on later hold without a restart, too"},
		{id: "QU-15", elsewhere: []string{"isolator/quota.TestAWrongRangeIsRefusedWithItsText", "isolator/quota.TestAnotherFilesystemHasNoLimits"},
			better: "a file system that has no limits is no error: its volumes are measured"},
		{id: "QU-16", elsewhere: []string{"isolator/quota.TestStatusSaysThatLimitsAreEnforced", "isolator/quota.TestAFilesystemWithQuotasOffSaysHowToSwitchThemOn",
			"isolator/quota.TestQuotasThatAreSwitchedOffMeanwhileAreAClearError", "isolator/quota.TestALimitIsRoundedUpToWholeBlocks"}},
	},
		missing(noQuota, "QU-02", "QU-05", "QU-08", "QU-11", "QU-14"),
	)
}

func recoveryRows() []row {
	return slices.Concat([]row{
		{id: "RE-01", elsewhere: []string{"checkpoint.TestWhatWasAppendedIsLoadedInOrderAcrossManySegments", "agent/volume.TestEveryChangeReadsBackAsItWasWritten"}},
		{id: "RE-03", check: totalsHaveEverything},
		{id: "RE-06", check: sameAgentAfterAReboot, elsewhere: []string{"isolator/lease.TestAProcessThatGotTheIdLaterDoesNotHold"},
			better: "it stays the same agent whatever is configured, and is refused only what would lose something"},
		{id: "RE-07", check: moreWhileATaskRuns},
		{id: "RE-08", check: configurationsThatFit, better: "there may be less of what nobody has taken"},
		{id: "RE-09", check: sameAgentAfterAStop, elsewhere: []string{"agent.TestAStoppedAgentRefusesAndLeavesTasksAlone"},
			better: "no master can end it; stopped and started, it is the same and its tasks go on"},
		{id: "RE-14", elsewhere: []string{"isolator/sandbox.TestRemoveTakesEverythingAndNothingElse", "agent/host.TestASandboxThatOutlivedItsRecordGoesAndAUsersDirectoryStays"},
			better: "a sandbox that the agent made goes with its task, and nothing else ever does"},
	},
		missing(noWire, "RE-02", "RE-05", "RE-11", "RE-12"),
		missing("the API answers only once recovery is over, which no test shows", "RE-04"),
		missing("the agent ends no tasks", "RE-10", "RE-13"),
		missing("usage of tasks is not measured yet", "RE-15"),
	)
}

func feedbackRows() []row {
	return slices.Concat([]row{
		{id: "OP-10", check: operationsWithIds, better: "an operation is done once however often it is asked for, and its end is kept"},
		{id: "OP-04", check: operationsAreListed, better: "whoever asks is told; nothing is pushed"},
		{id: "OP-11", check: operationsAreListed},
		{id: "OP-12", check: oneForbiddenRefusesAll, better: "a request is done whole or not at all, others are not affected"},
		{id: "OP-13", check: allocationsComeOff},
	},
		missing(noWire, "OP-01", "OP-02", "OP-05"),
		masters("a master's view of operations", "OP-03", "OP-06", "OP-07", "OP-08", "OP-09"),
	)
}

func accessRows() []row {
	return slices.Concat([]row{
		{id: "AU-01", check: permissionTables},
		{id: "AU-04", check: movingAsksTwice},
	},
		masters("who may register is a master's affair", "AU-02", "AU-03"),
		masters("a master's list of its agents", "AU-05"),
	)
}

func registrationRows() []row {
	return slices.Concat(
		masters("registration is judged by a master", "RG-01", "RG-02", "RG-03", "RG-04", "RG-07", "RG-08"),
		missing(noWire, "RG-05", "RG-06"),
	)
}

func newRows() []row {
	crashes := []string{"cmd/tenon.TestKilledAtEveryStepTheAgentConverges", "agent.TestNothingIsLostOrLeaksWhereverTheAgentCrashes"}
	return slices.Concat([]row{
		{id: "NEW-01", elsewhere: []string{"mount.TestAReadOnlyTreeArrivesReadOnlyInAnOlderNamespace", "mount.TestAReadOnlyTreeIsNeverWritable"}},
		{id: "NEW-02", check: oddContainerPaths, elsewhere: []string{"agent/host.TestCVE_2015_1335_WhatLiesInTheWayIsRefusedAndLeavesNoHolder",
			"agent/resource.TestContainerPathsStayInsideTheSandbox", "mount.TestNoMountAppearsOutsideTheRoot"}},
		{id: "NEW-03", check: twoUsesInOneTask},
		{id: "NEW-04", check: groupOnOneVolume},
		{id: "NEW-05", elsewhere: crashes},
		{id: "NEW-06", check: whatCannotBeRemoved, elsewhere: []string{"agent/pool.TestPurgeTakesWhatWasMadeImmutable"}},
		{id: "NEW-07", check: oldDataIsNeverSeen},
		{id: "NEW-08", check: namesThatBeginAlike},
		{id: "NEW-09", check: ownersStay, elsewhere: []string{"agent/pool.TestMakeFinishesWhatIsThereAndLeavesALiveVolumeAlone"}},
		{id: "NEW-11", check: endedWhileTheAgentWasDown, elsewhere: []string{"cmd/tenon.TestTasksDoNotNoticeThatTheAgentIsKilled"}},
		{id: "NEW-12", check: volumesAreNotReserved},
		{id: "NEW-13", check: identicalSharedVolumes},
		{id: "NEW-14", check: countsAreHolders},
		{id: "NEW-15", elsewhere: append(crashes, "agent/pool.TestWhatWasAcknowledgedSurvivesAPowerCut",
			"checkpoint.TestPowerCutAtEveryOperationKeepsWhatWasAcknowledged")},
		{id: "NEW-16", check: beforeAndAfterACreate},
	},
		missing("limits after a restart are shown on the root disk alone", "NEW-10"),
	)
}
