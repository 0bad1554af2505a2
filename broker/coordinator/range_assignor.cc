#include <algorithm>
#include <tuple>

#include "broker/coordinator/assignor.h"

namespace millrace::coordinator {
namespace {

constexpr Assignor kAssignors[] = {{"uniform", assign_uniform}, {"range", assign_range}};

// Members with an instance first: their place doesn't change when they restart under another member id.
std::vector<size_t> in_range_order(const std::vector<AssignorInput::Member>& members) {
  std::vector<size_t> order(members.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](size_t i) {
    const AssignorInput::Member& member = members[i];
    return std::tuple(!member.instance.has_value(), member.instance.value_or(member.id));
  });
  return order;
}

}  // namespace

const Assignor* find_assignor(std::string_view name) {
  const auto* found = std::ranges::find(kAssignors, name, &Assignor::name);
  return found == std::end(kAssignors) ? nullptr : found;
}

std::vector<Assignment> assign_range(const AssignorInput& input) {
  std::vector<Assignment> result(input.members.size());
  std::map<Uuid, std::vector<size_t>> subscribers;
  for (const size_t i : in_range_order(input.members)) {
    for (const Uuid& topic : *input.members[i].topics) subscribers[topic].push_back(i);
  }
  for (const auto& [topic, members] : subscribers) {
    const int32_t partitions = input.partitions.at(topic);
    const auto count = static_cast<int32_t>(members.size());
    int32_t next = 0;
    for (int32_t i = 0; i < count && next < partitions; ++i) {
      const int32_t share = partitions / count + (i < partitions % count ? 1 : 0);
      std::set<int32_t>& range = result[members[static_cast<size_t>(i)]][topic];
      for (int32_t end = next + share; next < end; ++next) range.insert(range.end(), next);
    }
  }
  return result;
}

}  // namespace millrace::coordinator
