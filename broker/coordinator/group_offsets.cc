#include "broker/coordinator/group_offsets.h"

#include <algorithm>

namespace millrace::coordinator {
namespace {

template <class P>
auto place(P& partitions, int32_t partition) {
  return std::ranges::lower_bound(partitions, partition, {}, [](const auto& entry) { return entry.first; });
}

}  // namespace

const CommittedOffset* GroupOffsets::find(std::string_view topic, int32_t partition) const {
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return nullptr;
  const auto at = place(found->second, partition);
  return at == found->second.end() || at->first != partition ? nullptr : &at->second;
}

void GroupOffsets::put(std::string_view topic, int32_t partition, CommittedOffset offset) {
  auto found = topics_.find(topic);
  if (found == topics_.end()) found = topics_.emplace(std::string(topic), Partitions()).first;
  const auto at = place(found->second, partition);
  if (at != found->second.end() && at->first == partition) {
    at->second = std::move(offset);
  } else {
    found->second.emplace(at, partition, std::move(offset));
  }
}

void GroupOffsets::erase(std::string_view topic, int32_t partition) {
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return;
  const auto at = place(found->second, partition);
  if (at == found->second.end() || at->first != partition) return;
  found->second.erase(at);
  if (found->second.empty()) topics_.erase(found);
}

}  // namespace millrace::coordinator
