from producer.guard import Root, RootIdentity, judge

HERE = RootIdentity(1, 2)


def test_a_root_that_is_there_is_believed() -> None:
    assert judge(Root(HERE), 10, HERE).alarm == ""
    assert not judge(Root(HERE), 10, HERE).compare_whole


def test_a_missing_root_publishes_nothing_and_says_why() -> None:
    verdict = judge(Root(None, why="no such file or directory"), 10, HERE)
    assert verdict.alarm == "source-missing"
    assert "no such file" in verdict.detail


def test_an_empty_root_is_believed_only_where_nothing_is_known() -> None:
    assert judge(Root(HERE, is_empty=True), 10, HERE).alarm == "source-empty"
    assert judge(Root(HERE, is_empty=True), 0, HERE).alarm == ""


def test_another_root_is_compared_whole_first() -> None:
    assert judge(Root(RootIdentity(9, 2)), 10, HERE).compare_whole
    assert not judge(Root(HERE), 0, None).compare_whole
