#include "tests/bench/coordinators.h"

#include <algorithm>

#include "protocol/messages/find_coordinator.h"
#include "protocol/messages/offset_fetch.h"
#include "tests/bench/request.h"

namespace millrace::bench {
namespace {

using protocol::FindCoordinatorRequest;
using protocol::FindCoordinatorResponse;
using protocol::OffsetFetchRequest;
using protocol::OffsetFetchResponse;

constexpr int16_t kFindCoordinatorVersion = 4;
constexpr int16_t kOffsetFetchVersion = 8;
constexpr size_t kGroupsAtOnce = 1000;

}  // namespace

void await_coordinators(const std::string& broker, std::span<const std::string> groups) {
  Arena arena;
  FindCoordinatorRequest find;
  find.coordinator_keys = arena.copy(std::vector<std::string_view>{groups.front()});
  const Buffer find_frame = make_frame(find, kFindCoordinatorVersion);
  const std::function<bool(const FindCoordinatorResponse&)> found = [](const auto& answer) {
    return !answer.coordinators.empty() && answer.coordinators[0].error_code == ErrorCode::kNone;
  };
  await(broker,
        [&] { return ask<FindCoordinatorResponse>(broker, find_frame, kFindCoordinatorVersion, found); });
  const std::function<bool(const OffsetFetchResponse&)> loaded = [](const auto& answer) {
    return std::ranges::all_of(answer.groups,
                               [](const auto& group) { return group.error_code == ErrorCode::kNone; });
  };
  for (size_t at = 0; at < groups.size(); at += kGroupsAtOnce) {
    const auto some = groups.subspan(at, std::min(kGroupsAtOnce, groups.size() - at));
    OffsetFetchRequest fetch;
    fetch.groups = arena.make_array<OffsetFetchRequest::Group>(some.size());
    for (size_t i = 0; i < some.size(); ++i) {
      fetch.groups[i].group_id = some[i];
      fetch.groups[i].topics.emplace();  // of none
    }
    const Buffer frame = make_frame(fetch, kOffsetFetchVersion);
    await(broker, [&] { return ask<OffsetFetchResponse>(broker, frame, kOffsetFetchVersion, loaded); });
  }
}

}  // namespace millrace::bench
