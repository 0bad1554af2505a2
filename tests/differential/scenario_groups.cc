#include "tests/differential/requests.h"
#include "tests/differential/scenarios.h"

namespace millrace::differential {
namespace {

using namespace protocol;

const std::string kTopic = "grouped";

// Apache Kafka makes __consumer_offsets when it is first asked, and answers once it is there.
void find(Comparison& c, const std::vector<std::string>& groups) {
  for (const std::string& group : groups) {
    c.wait_until([&](Peer&) {
      bool found = true;
      c.ask_each(
          3,
          [&](Call& call) {
            FindCoordinatorRequest request;
            request.key = call.arena.copy(group);
            return request;
          },
          [&](Peer&, const FindCoordinatorResponse& response) {
            found = found && response.error_code == ErrorCode::kNone;
          });
      return found;
    });
    // It may have been found before it has read its log.
    c.wait_until([&](Peer&) {
      bool answers = true;
      c.ask_each(
          4,
          [&](Call& call) {
            HeartbeatRequest request;
            request.group_id = call.arena.copy(group);
            request.member_id = "nobody";
            return request;
          },
          [&](Peer&, const HeartbeatResponse& response) {
            answers = answers && response.error_code == ErrorCode::kUnknownMemberId;
          });
      return answers;
    });
  }
}

struct CommitSketch {
  std::string group;
  std::string member;
  int32_t generation = -1;
  std::vector<int32_t> partitions = {0};
  std::string topic = kTopic;
  std::string metadata = "note";
  int64_t offset = 7;
};

OffsetCommitRequest commit(Call& call, const CommitSketch& sketch) {
  std::vector<OffsetCommitRequest::Topic::Partition> partitions;
  for (const int32_t partition : sketch.partitions) {
    auto& one = partitions.emplace_back();
    one.partition_index = partition;
    one.committed_offset = sketch.offset;
    one.committed_metadata = call.arena.copy(sketch.metadata);
  }
  OffsetCommitRequest::Topic topic;
  if (call.version >= 10) {
    topic.topic_id = call.peer.topic_id(sketch.topic);
  } else {
    topic.name = call.arena.copy(sketch.topic);
  }
  topic.partitions = call.arena.copy(partitions);
  OffsetCommitRequest request;
  request.group_id = call.arena.copy(sketch.group);
  request.member_id = call.arena.copy(sketch.member);
  request.generation_id_or_member_epoch = sketch.generation;
  request.topics = call.arena.copy(std::vector{topic});
  return request;
}

struct FetchedSketch {
  std::string group;
  std::optional<std::vector<int32_t>> partitions = std::vector<int32_t>{0};  // nothing: all topics
  std::string topic = kTopic;
  std::optional<std::string> member = std::nullopt;
  int32_t epoch = -1;
};

OffsetFetchRequest fetched(Call& call, const FetchedSketch& sketch) {
  OffsetFetchRequest request;
  if (call.version < 8) {
    request.group_id = call.arena.copy(sketch.group);
    if (call.version >= 2) request.topics = std::nullopt;
    if (!sketch.partitions) return request;
    OffsetFetchRequest::Topic topic;
    topic.name = call.arena.copy(sketch.topic);
    topic.partition_indexes = call.arena.copy(*sketch.partitions);
    request.topics = call.arena.copy(std::vector{topic});
    return request;
  }
  OffsetFetchRequest::Group group;
  group.group_id = call.arena.copy(sketch.group);
  group.topics = std::nullopt;
  if (call.version >= 9 && sketch.member) {
    group.member_id = call.arena.copy(std::string_view(*sketch.member));
    group.member_epoch = sketch.epoch;
  }
  if (sketch.partitions) {
    OffsetFetchRequest::Group::Topic topic;
    if (call.version >= 10) {
      topic.topic_id = call.peer.topic_id(sketch.topic);
    } else {
      topic.name = call.arena.copy(sketch.topic);
    }
    topic.partition_indexes = call.arena.copy(*sketch.partitions);
    group.topics = call.arena.copy(std::vector{topic});
  }
  request.groups = call.arena.copy(std::vector{group});
  return request;
}

void compare_positions(Comparison& c) {
  find(c, {"simple", "none", "gone"});
  c.in_versions<OffsetCommitRequest>([&](int16_t v) {
    const auto ask = [&](const std::string& step, const CommitSketch& sketch) {
      c.ask(step, v, [&](Call& call) { return commit(call, sketch); });
    };
    ask("simple", {.group = "simple", .partitions = {0, 2}, .offset = 10 + v});
    ask("no such partition", {.group = "simple", .partitions = {1, 3, -1}});
    ask("no such topic", {.group = "simple", .topic = "not-there"});
    ask("no topics' partitions", {.group = "simple", .partitions = {}});
    ask("long metadata", {.group = "simple", .metadata = std::string(4097, 'm')});
    ask("negative offset", {.group = "simple", .partitions = {1}, .offset = -5});
    ask("generation of no group", {.group = "none", .generation = 3});
    ask("generation of an empty group", {.group = "simple", .member = "m", .generation = 3});
    ask("member without generation", {.group = "simple", .member = "m"});
  });
  c.in_versions<OffsetFetchRequest>([&](int16_t v) {
    const auto ask = [&](const std::string& step, const FetchedSketch& sketch) {
      c.ask(step, v, [&](Call& call) { return fetched(call, sketch); });
    };
    ask("positions", {.group = "simple", .partitions = {{0, 1, 2, 3}}});
    ask("unknown group", {.group = "none"});
    ask("unknown topic", {.group = "simple", .topic = "not-there"});
    ask("no partitions", {.group = "simple", .partitions = std::vector<int32_t>{}});
    ask("the same partition twice", {.group = "simple", .partitions = {{0, 2, 0}}});
    if (v >= 2) ask("all", {.group = "simple", .partitions = std::nullopt});
    if (v >= 2) ask("all of an unknown group", {.group = "none", .partitions = std::nullopt});
    if (v >= 9) ask("as a member", {.group = "simple", .member = "m", .epoch = 2});
  });
}

template <class Request>
Request of_group(Call& call, const std::string& group) {
  Request request;
  request.group_id = call.arena.copy(group);
  return request;
}

void compare_classic_refusals(Comparison& c) {
  c.in_versions<JoinGroupRequest>([&](int16_t v) {
    const auto ask = [&](const std::string& step, const std::string& group, const std::string& member,
                         int32_t session_ms, bool has_protocol) {
      c.ask(step, v, [&](Call& call) {
        auto request = of_group<JoinGroupRequest>(call, group);
        request.member_id = call.arena.copy(member);
        request.session_timeout_ms = session_ms;
        if (v >= 1) request.rebalance_timeout_ms = 10'000;
        request.protocol_type = "consumer";
        if (has_protocol)
          request.protocols =
              call.arena.copy(std::vector<JoinGroupRequest::Protocol>{{"range", as_bytes("x")}});
        return request;
      });
    };
    ask("no group id", "", "", 10'000, true);
    ask("session too short", "none", "", 1'000, true);
    ask("session too long", "none", "", 1'800'001, true);
    ask("unknown member of no group", "none", "m", 10'000, true);
    ask("unknown member", "simple", "m", 10'000, true);
  });
  c.in_versions<HeartbeatRequest>([&](int16_t v) {
    for (const std::string group : {"", "none", "simple"}) {
      c.ask("unknown member of '" + group + "'", v, [&](Call& call) {
        auto request = of_group<HeartbeatRequest>(call, group);
        request.member_id = "m";
        return request;
      });
    }
  });
  c.in_versions<SyncGroupRequest>([&](int16_t v) {
    for (const std::string group : {"", "none", "simple"}) {
      c.ask("unknown member of '" + group + "'", v, [&](Call& call) {
        auto request = of_group<SyncGroupRequest>(call, group);
        request.member_id = "m";
        if (v >= 5) request.protocol_type = "consumer";
        if (v >= 5) request.protocol_name = "range";
        return request;
      });
    }
    c.ask("no protocol's name", v, [&](Call& call) {
      auto request = of_group<SyncGroupRequest>(call, "simple");
      request.member_id = "m";
      if (v >= 5) request.protocol_type = "consumer";
      return request;
    });
  });
  c.in_versions<LeaveGroupRequest>([&](int16_t v) {
    for (const std::string group : {"", "none", "simple"}) {
      c.ask("unknown member of '" + group + "'", v, [&](Call& call) {
        auto request = of_group<LeaveGroupRequest>(call, group);
        if (v < 3) request.member_id = "m";
        LeaveGroupRequest::Member member;
        member.member_id = "m";
        if (v >= 3) request.members = call.arena.copy(std::vector{member});
        return request;
      });
    }
  });
}

struct BeatSketch {
  std::string group = "modern";
  std::string member = "member-a";
  int32_t epoch = 0;
  std::optional<std::string_view> instance, rack, regex, assignor;
  int32_t rebalance_timeout_ms = 60'000;
  bool has_topics = true;
  bool owns_nothing = true;
  std::optional<std::vector<int32_t>> owned;
};

ConsumerGroupHeartbeatRequest beat(Call& call, const BeatSketch& sketch) {
  auto request = of_group<ConsumerGroupHeartbeatRequest>(call, sketch.group);
  request.member_id = call.arena.copy(sketch.member);
  request.member_epoch = sketch.epoch;
  request.instance_id = sketch.instance;
  request.rack_id = sketch.rack;
  if (call.version >= 1) request.subscribed_topic_regex = sketch.regex;
  request.server_assignor = sketch.assignor;
  request.rebalance_timeout_ms = sketch.rebalance_timeout_ms;
  if (sketch.has_topics)
    request.subscribed_topic_names = call.arena.copy(std::vector<std::string_view>{kTopic});
  if (sketch.owned) {
    ConsumerGroupHeartbeatRequest::TopicPartition topic;
    topic.topic_id = call.peer.topic_id(kTopic);
    topic.partitions = call.arena.copy(*sketch.owned);
    request.topic_partitions = call.arena.copy(std::vector{topic});
  } else if (sketch.owns_nothing) {
    request.topic_partitions.emplace();
  }
  return request;
}

void compare_consumer_refusals(Comparison& c) {
  c.in_versions<ConsumerGroupHeartbeatRequest>([&](int16_t v) {
    const auto ask = [&](const std::string& step, const BeatSketch& sketch) {
      c.ask(step, v, [&](Call& call) { return beat(call, sketch); });
    };
    ask("no group id", {.group = ""});
    if (v >= 1) ask("no member id", {.member = ""});
    ask("no member id, epoch 1", {.member = "", .epoch = 1});
    ask("blank instance", {.instance = " "});
    ask("blank rack", {.rack = ""});
    ask("no rebalance timeout", {.rebalance_timeout_ms = -1});
    ask("owned unknown when joining", {.owns_nothing = false});
    ask("owns something when joining", {.owned = {{0}}});
    ask("no subscription", {.has_topics = false});
    if (v >= 1) ask("bad expression", {.regex = "(a", .has_topics = false});
    ask("unknown assignor", {.assignor = "best"});
    ask("epoch -3", {.epoch = -3});
    ask("epoch -2 without instance", {.epoch = -2});
    ask("heartbeat to no group", {.epoch = 1});
    ask("leave no group", {.epoch = -1});
    ask("leave a classic group", {.group = "simple", .epoch = -1});
    ask("heartbeat to an empty classic group", {.group = "simple", .epoch = 1});
  });
}

// Two members, until each has its share: that is what is compared, Apache Kafka takes more heartbeats.
void converge(Comparison& c) {
  for (const std::string member : {"member-a", "member-b"}) {
    std::map<std::string, int32_t> epochs;
    std::map<std::string, std::vector<int32_t>> owned;
    for (int i = 0; i < 40; ++i) {
      for (const std::string one : {"member-a", member.c_str()}) {
        c.ask_each(
            1,
            [&](Call& call) {
              const std::string key = one + call.peer.name();
              BeatSketch sketch{.member = one, .epoch = static_cast<int32_t>(call.peer.chosen[key])};
              const auto shares = call.peer.chosen.find(key + " partitions");
              if (sketch.epoch > 0 && shares != call.peer.chosen.end() && shares->second > 0) {
                sketch.owned.emplace();
                for (int32_t p = 0; p < 4; ++p) {
                  if ((shares->second >> p & 1) != 0) sketch.owned->push_back(p);
                }
              }
              return beat(call, sketch);
            },
            [&](Peer& peer, const ConsumerGroupHeartbeatResponse& response) {
              if (response.error_code != ErrorCode::kNone) {
                throw std::runtime_error(peer.name() + " refuses a heartbeat: " +
                                         std::string(response.error_message.value_or("")));
              }
              const std::string key = one + peer.name();
              peer.chosen[key] = response.member_epoch;
              if (!response.assignment) return;
              int64_t mask = 0;
              for (const auto& topic : response.assignment->topic_partitions) {
                for (const int32_t partition : topic.partitions) mask |= int64_t{1} << partition;
              }
              peer.chosen[key + " partitions"] = mask;
            });
      }
      let_settle();
      if (i >= 8) break;
    }
  }
}

void compare_members(Comparison& c) {
  find(c, {"modern"});
  c.ask("the first joins", 1, [](Call& call) { return beat(call, {}); });
  converge(c);
  const auto epoch_of = [](Call& call) {
    return static_cast<int32_t>(call.peer.chosen["member-a" + call.peer.name()]);
  };
  c.in_versions<ConsumerGroupDescribeRequest>([&](int16_t v) {
    c.ask("converged", v, [&](Call& call) {
      ConsumerGroupDescribeRequest request;
      request.group_ids = call.arena.copy(std::vector<std::string_view>{"modern", "simple", "none"});
      request.include_authorized_operations = true;
      return request;
    });
    c.ask("no group id", v, [&](Call& call) {
      ConsumerGroupDescribeRequest request;
      request.group_ids = call.arena.copy(std::vector<std::string_view>{""});
      return request;
    });
    c.ask("the same twice", v, [&](Call& call) {
      ConsumerGroupDescribeRequest request;
      request.group_ids = call.arena.copy(std::vector<std::string_view>{"modern", "modern"});
      return request;
    });
  });
  c.in_versions<ConsumerGroupHeartbeatRequest>([&](int16_t v) {
    const auto ask = [&](const std::string& step, const BeatSketch& sketch) {
      c.ask(step, v, [&](Call& call) { return beat(call, sketch); });
    };
    ask("unknown member", {.member = "member-x", .epoch = 1});
    ask("unknown instance", {.epoch = 1, .instance = "i"});
    ask("epoch ahead", {.epoch = 1'000});
    c.ask("a quiet heartbeat", v, [&](Call& call) {
      return beat(
          call,
          {.epoch = epoch_of(call), .rebalance_timeout_ms = -1, .has_topics = false, .owns_nothing = false});
    });
    ask("unknown member leaves", {.member = "member-x", .epoch = -1});
  });
  c.in_versions<OffsetCommitRequest>([&](int16_t v) {
    c.ask("as a member", v, [&](Call& call) {
      return commit(call, {.group = "modern", .member = "member-a", .generation = epoch_of(call)});
    });
    c.ask("epoch ahead", v, [&](Call& call) {
      return commit(call, {.group = "modern", .member = "member-a", .generation = 1'000});
    });
    c.ask("epoch behind", v, [&](Call& call) {
      return commit(call,
                    {.group = "modern", .member = "member-a", .generation = 0, .partitions = {0, 1, 2, 3}});
    });
    c.ask("not a member", v, [&](Call& call) { return commit(call, {.group = "modern"}); });
  });
  c.in_versions<OffsetFetchRequest>([&](int16_t v) {
    c.ask("of the consumer group", v, [&](Call& call) { return fetched(call, {.group = "modern"}); });
    if (v < 9) return;
    c.ask("as a member of it", v, [&](Call& call) {
      return fetched(call, {.group = "modern", .member = "member-a", .epoch = epoch_of(call)});
    });
    c.ask("epoch ahead", v, [&](Call& call) {
      return fetched(call, {.group = "modern", .member = "member-a", .epoch = 1'000});
    });
  });
}

// Who may be an instance that another member is, or was until it left for a while.
void compare_static_members(Comparison& c) {
  find(c, {"static"});
  const auto ask = [&](const std::string& step, BeatSketch sketch) {
    sketch.group = "static";
    c.ask("static: " + step, 1, [&](Call& call) { return beat(call, sketch); });
  };
  ask("joins", {.member = "s-1", .instance = "i"});
  ask("another one joins as the same instance", {.member = "s-2", .instance = "i"});
  ask("joins again under its own id", {.member = "s-1", .instance = "i"});
  ask("another one heartbeats", {.member = "s-2", .epoch = 1, .instance = "i"});
  ask("another one leaves", {.member = "s-2", .epoch = -2, .instance = "i"});
  ask("leaves for a while", {.member = "s-1", .epoch = -2, .instance = "i"});
  ask("another one takes over", {.member = "s-2", .instance = "i"});
  ask("the former one heartbeats", {.member = "s-1", .epoch = 1, .instance = "i"});
  ask("the former one joins", {.member = "s-1", .instance = "i"});
  ask("the new one leaves for good", {.member = "s-2", .epoch = -1, .instance = "i"});
}

// More than a record of __consumer_offsets may have.
void compare_too_large(Comparison& c) {
  std::vector<int32_t> many;
  for (int32_t i = 0; i < 300; ++i) many.push_back(i);
  set_up(c, {{"wide", 300}});
  c.in_versions<OffsetCommitRequest>([&](int16_t v) {
    if (v > 9) return;
    c.ask("too much for a batch", v, [&](Call& call) {
      return commit(
          call,
          {.group = "simple", .partitions = many, .topic = "wide", .metadata = std::string(4'096, 'x')});
    });
  });
}

void compare_administration(Comparison& c) {
  c.in_versions<ListGroupsRequest>([&](int16_t v) {
    const auto ask = [&](const std::string& step, std::vector<std::string_view> states,
                         std::vector<std::string_view> types) {
      c.ask(step, v, [&](Call& call) {
        ListGroupsRequest request;
        request.states_filter = call.arena.copy(states);
        request.types_filter = call.arena.copy(types);
        return request;
      });
    };
    ask("all", {}, {});
    if (v >= 4) ask("stable ones", {"Stable"}, {});
    if (v >= 4) ask("empty ones", {"empty"}, {});
    if (v >= 5) ask("consumer groups", {}, {"consumer"});
    if (v >= 5) ask("classic groups", {}, {"Classic"});
  });
  c.in_versions<DescribeGroupsRequest>([&](int16_t v) {
    c.ask("simple, consumer, missing", v, [&](Call& call) {
      DescribeGroupsRequest request;
      request.groups = call.arena.copy(std::vector<std::string_view>{"simple", "modern", "none"});
      return request;
    });
    c.ask("the same twice", v, [&](Call& call) {
      DescribeGroupsRequest request;
      request.groups = call.arena.copy(std::vector<std::string_view>{"simple", "simple"});
      return request;
    });
  });
  c.in_versions<OffsetDeleteRequest>([&](int16_t v) {
    for (const std::string group : {"none", "modern", "simple"}) {
      c.ask("positions of " + group, v, [&](Call& call) {
        OffsetDeleteRequest::Topic::Partition zero{0};
        OffsetDeleteRequest::Topic::Partition nine{9};
        OffsetDeleteRequest::Topic topic;
        topic.name = kTopic;
        topic.partitions = call.arena.copy(std::vector{zero, nine});
        auto request = of_group<OffsetDeleteRequest>(call, group);
        request.topics = call.arena.copy(std::vector{topic});
        return request;
      });
    }
  });
  c.in_versions<DeleteGroupsRequest>([&](int16_t v) {
    const std::string gone = "gone-" + std::to_string(v);
    find(c, {gone});
    c.ask("before", 8, [&](Call& call) { return commit(call, {.group = gone}); });
    c.ask("missing, with members, empty", v, [&](Call& call) {
      DeleteGroupsRequest request;
      request.groups_names = call.arena.copy(std::vector<std::string_view>{"none", "modern", gone, "none"});
      return request;
    });
    c.ask("after", 8, [&](Call& call) { return fetched(call, {.group = gone}); });
  });
  for (const std::string member : {"member-a", "member-b"}) {
    c.ask(member + " leaves", 1, [&](Call& call) { return beat(call, {.member = member, .epoch = -1}); });
  }
  c.ask("everybody has left", 1, [&](Call& call) {
    ConsumerGroupDescribeRequest request;
    request.group_ids = call.arena.copy(std::vector<std::string_view>{"modern"});
    return request;
  });
}

}  // namespace

void compare_groups(Comparison& c) {
  set_up(c, {{kTopic, 3}});
  compare_positions(c);
  compare_classic_refusals(c);
  compare_consumer_refusals(c);
  compare_members(c);
  compare_static_members(c);
  compare_too_large(c);
  compare_administration(c);
}

}  // namespace millrace::differential
