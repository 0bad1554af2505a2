// millrace group seek: moves a group to another place of its topics, while it has no members.
#include <fmt/format.h>

#include <algorithm>

#include "tools/client/group_offsets.h"
#include "tools/client/offsets.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/json.h"
#include "tools/quantity.h"
#include "tools/seek_target.h"
#include "tools/table.h"
#include "tools/timestamp.h"
#include "tools/utf8.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "group seek";

struct Move {
  TopicPartition place;
  // Nothing: no commit so far.
  std::optional<int64_t> from;
  int64_t to = 0;
  // Why it isn't the place that was asked for; empty if it is.
  std::string note;
};

// "2 active members (billing at 127.0.0.1, ...)"; the first few are named, by `name`.
template <class Name>
std::string members_text(const std::vector<const GroupMember*>& members, std::string_view kind, Name name) {
  constexpr size_t kNamed = 5;
  std::string names;
  for (size_t i = 0; i < std::min(kNamed, members.size()); ++i) {
    names +=
        fmt::format("{}{} at {}", i == 0 ? "" : ", ", visible(name(*members[i])), visible(members[i]->host));
  }
  if (members.size() > kNamed) names += ", ...";
  return fmt::format("{} {} member{}{} ({})", members.size(), kind, members.size() == 1 ? "" : "s",
                     members[0]->has_left() ? " that left" : "", names);
}

// What the members would undo, and what the broker refuses because of those that may come back.
Error still_active(const GroupDescription& group) {
  std::vector<const GroupMember*> active;
  std::vector<const GroupMember*> left;
  for (const GroupMember& member : group.members) (member.has_left() ? left : active).push_back(&member);
  const std::string name = visible(group.name);
  std::string text = fmt::format("group \"{}\" ", name);
  if (!active.empty()) {
    const auto client = [](const GroupMember& member) { return member.client_id; };
    text += fmt::format(
        "has {}, which would go on from where they are. Stop them, then seek; one that was killed counts "
        "until its session times out (after 45 s, unless it was set otherwise)",
        members_text(active, "active", client));
  }
  if (!left.empty()) {
    const auto instance = [](const GroupMember& member) {
      return member.instance_id.value_or(member.client_id);
    };
    text += fmt::format("{} the place of {} until {} session ends{}", active.empty() ? "keeps" : "; it keeps",
                        members_text(left, "static", instance), left.size() == 1 ? "its" : "each one's",
                        active.empty() ? ". Wait for that, then seek" : "");
  }
  return {ErrorCode::kNonEmptyGroup, text + fmt::format(" (millrace group describe {} shows them)", name)};
}

// Whether the group is there; an error if it has members.
Result<bool> check_idle(Cluster& cluster, const std::string& name) {
  const Result<std::map<std::string, Result<GroupDescription>>> described = describe_groups(cluster, {name});
  if (!described) return std::unexpected(described.error());
  const Result<GroupDescription>& group = described->at(name);
  if (!group && group.error().code == ErrorCode::kGroupIdNotFound) return false;
  if (!group) return std::unexpected(group.error());
  if (!group->members.empty()) return std::unexpected(still_active(*group));
  return true;
}

// The partitions to move, by topic: those given, or else all that the group has committed.
Result<TopicPartitions> choose(Cluster& cluster, const Arguments& arguments, const GroupOffsets& committed) {
  TopicPartitions chosen;
  const std::vector<std::string> topics = arguments.all("topic");
  const auto numbers = parse_partitions(arguments.text("partitions"));
  for (const std::string& name : topics) {
    const Result<TopicInfo> topic = cluster.topic(name);
    if (!topic) return std::unexpected(topic.error());
    std::vector<int32_t>& partitions = chosen[name];
    partitions.clear();  // it may be named twice
    if (numbers) {
      partitions = *numbers;
    } else {
      for (const PartitionInfo& info : topic->partitions) partitions.push_back(info.partition);
    }
  }
  if (!topics.empty()) return chosen;
  for (const auto& [place, offset] : committed) chosen[place.topic].push_back(place.partition);
  return chosen;
}

// Where each partition of a topic goes, the bounds of its log not looked at.
Result<Offsets> destinations(Cluster& cluster, const std::string& topic,
                             const std::vector<int32_t>& partitions, const SeekTarget& target,
                             const GroupOffsets& committed) {
  if (const Position* position = std::get_if<Position>(&target))
    return resolve(cluster, topic, partitions, *position, Isolation::kReadUncommitted);
  Offsets offsets;
  for (const int32_t partition : partitions) {
    const auto from = committed.find({topic, partition});
    // Kept away from an overflow.
    constexpr int64_t kFar = INT64_MAX / 4;
    if (from != committed.end())
      offsets[partition] = from->second.offset + std::clamp(std::get<Step>(target).records, -kFar, kFar);
  }
  return offsets;
}

Result<void> plan_topic(Cluster& cluster, const std::string& topic, const std::vector<int32_t>& partitions,
                        const SeekTarget& target, const GroupOffsets& committed, std::vector<Move>& moves) {
  const Result<Offsets> to = destinations(cluster, topic, partitions, target, committed);
  if (!to) return std::unexpected(to.error());
  std::vector<int32_t> numbers;
  for (const auto& [partition, offset] : *to) numbers.push_back(partition);
  if (numbers.empty()) return {};
  Result<Offsets> start =
      list_offsets(cluster, topic, numbers, kEarliestTimestamp, Isolation::kReadUncommitted);
  if (!start) return std::unexpected(start.error());
  Result<Offsets> end = list_offsets(cluster, topic, numbers, kLatestTimestamp, Isolation::kReadUncommitted);
  if (!end) return std::unexpected(end.error());
  const auto* position = std::get_if<Position>(&target);
  const bool is_time = position != nullptr && position->kind == Position::Kind::kTimestamp;
  for (const auto& [partition, offset] : *to) {
    Move& move = moves.emplace_back();
    move.place = {topic, partition};
    if (const auto from = committed.find(move.place); from != committed.end())
      move.from = from->second.offset;
    move.to = std::clamp(offset, (*start)[partition], (*end)[partition]);
    if (offset < move.to) move.note = "the log starts there";
    if (offset > move.to) move.note = "the log ends there";
    if (is_time && move.to == (*end)[partition]) move.note = "no record is so late";
  }
  return {};
}

Result<std::vector<Move>> make_plan(Cluster& cluster, const Arguments& arguments, Console& console) {
  const std::string group = arguments.text("group");
  const Result<SeekTarget> target = parse_seek_target(arguments.text("to"), wall_clock_ms());
  if (!target) return std::unexpected(target.error());
  const Result<bool> there = check_idle(cluster, group);
  if (!there) return std::unexpected(there.error());
  if (!*there && !arguments.has("topic")) {
    Error error = no_such_group(cluster, group);
    error.message += "\nA new group can be given a place in a topic: --topic TOPIC";
    return std::unexpected(std::move(error));
  }
  const Result<GroupOffsets> committed = committed_offsets(cluster, group);
  if (!committed) return std::unexpected(committed.error());
  const Result<TopicPartitions> chosen = choose(cluster, arguments, *committed);
  if (!chosen) return std::unexpected(chosen.error());
  std::vector<Move> moves;
  for (const auto& [topic, partitions] : *chosen) {
    // Commits for a topic that was deleted stay until they expire.
    if (!arguments.has("topic")) {
      const auto found = cluster.describe_topics(std::vector<std::string>{topic});
      if (!found) return std::unexpected(found.error());
      if (found->empty() || found->front().error == ErrorCode::kUnknownTopicOrPartition) {
        console.note(fmt::format("{}: the topic is gone; left alone", visible(topic)));
        continue;
      }
    }
    if (Result<void> planned = plan_topic(cluster, topic, partitions, *target, *committed, moves); !planned)
      return std::unexpected(planned.error());
  }
  if (!moves.empty()) return moves;
  return fail(ErrorCode::kInvalidRequest,
              fmt::format("group \"{}\" has committed nothing {}", visible(group),
                          std::holds_alternative<Step>(*target)
                              ? "to step on or back from; give a position, e.g. --to start"
                              : "in a topic that is there; name one with --topic TOPIC"));
}

void report(const Arguments& arguments, Console& console, const std::vector<Move>& moves) {
  Json list = Json::list();
  Table table({"TOPIC", ">PARTITION", ">FROM", ">TO", ">MOVED", "NOTE"});
  for (const Move& move : moves) {
    const int64_t moved = move.from ? move.to - *move.from : 0;
    Json item = Json::object();
    item.set("topic", move.place.topic).set("partition", int64_t{move.place.partition});
    item.set("from", move.from).set("to", move.to).set("note", move.note.empty() ? Json() : Json(move.note));
    list.push(std::move(item));
    table.add({move.place.topic, std::to_string(move.place.partition),
               move.from ? std::to_string(*move.from) : "-", std::to_string(move.to),
               !move.from ? "new" : (moved > 0 ? "+" : "") + format_count(moved), move.note});
  }
  if (!wants_json(arguments)) return console.write(table.render(console.colour_out));
  Json json = Json::object();
  json.set("group", Json::name(arguments.text("group"))).set("dry_run", arguments.has("dry-run"));
  console.write(json.set("partitions", std::move(list)).dump(2) + "\n");
}

int run(const Arguments& arguments, Console& console) {
  const std::string group = arguments.text("group");
  if (arguments.has("partitions") && arguments.all("topic").size() != 1) {
    console.complain(
        kName, "--partitions are those of one topic: name it with --topic\nSee: millrace group seek --help");
    return kExitUsage;
  }
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const auto fail_with = [&](const Error& error) {
    console.complain(kName, error.message);
    return kExitFailed;
  };
  const Result<std::vector<Move>> moves = make_plan(*cluster, arguments, console);
  if (!moves) return fail_with(moves.error());
  if (!arguments.has("dry-run")) {
    std::map<TopicPartition, int64_t> offsets;
    for (const Move& move : *moves) offsets[move.place] = move.to;
    const Result<void> committed = commit_offsets(*cluster, group, {}, offsets);
    // A member came between.
    const Result<bool> idle = committed ? Result<bool>(true) : check_idle(*cluster, group);
    if (!idle) return fail_with(idle.error());
    if (!committed)
      return fail_with({committed.error().code,
                        fmt::format("group \"{}\": {}", visible(group), committed.error().message)});
  }
  report(arguments, console, *moves);
  if (arguments.has("dry-run")) console.note("Nothing was changed: --dry-run.");
  return kExitDone;
}

}  // namespace

Command group_seek_command() {
  return {.path = "group seek",
          .summary = "Move a group to another place: replay, or skip",
          .details = std::string(kSeekTargetHelp) +
                     R"(
All partitions that the group has committed move, or those of --topic. A place outside of the log becomes its start
or its end. Members would commit over it, so the group must have none. A group that isn't there yet is made.

Examples:
  millrace group seek billing --to start --dry-run            what would change
  millrace group seek billing --to @-1h                       the last hour again
  millrace group seek billing --to -100 --topic orders        a hundred records back, in each partition
  millrace group seek fraud --to start --topic orders         where a new group will begin
)",
          .options = with_connection({
              group_argument(),
              {.names = "-o,--to",
               .value = "PLACE",
               .help = "Where to; see below",
               .check = seek_target_value(),
               .required = true},
              {.names = "-t,--topic",
               .value = "TOPIC",
               .help = "Only this topic; may be given several times",
               .check = topic_name(),
               .repeatable = true,
               .completion = Completion::kTopic},
              {.names = "-p,--partitions",
               .aliases = "--partition",
               .value = "LIST",
               .help = "Only these of the one topic, e.g. 0,2-5",
               .check = partition_list()},
              {.names = "-n,--dry-run", .help = "Only show what would change"},
              output_option(),
          }),
          .run = run};
}

}  // namespace millrace::tools
