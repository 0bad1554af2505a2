// The server-side assignors of consumer groups (KIP-848): who shall own which partition. They make, for the
// same members, topics and target so far, always the same assignment.
//
// range gives every member a range of each of its topics, in the order of instance and member ids, so that
// topics with the same number of partitions are divided the same way. uniform gives every member as many
// partitions as any other, as far as subscriptions allow, and takes away as few as it can.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/coordinator/group_record.h"

namespace millrace::coordinator {

struct AssignorInput {
  struct Member {
    std::string_view id;
    std::optional<std::string_view> instance;
    const std::set<Uuid>* topics = nullptr;  // what it is subscribed to, all of it in `partitions`
    const Assignment* target = nullptr;      // what it had so far; may name what isn't there any more
  };
  std::vector<Member> members;  // in the order of their ids
  std::map<Uuid, int32_t> partitions;
};

struct Assignor {
  std::string_view name;
  // Every partition of a topic with subscribers goes to one of them; the result is in the order of the
  // members.
  std::vector<Assignment> (*assign)(const AssignorInput& input);
};

// Null if there is none of that name.
const Assignor* find_assignor(std::string_view name);

std::vector<Assignment> assign_range(const AssignorInput& input);
std::vector<Assignment> assign_uniform(const AssignorInput& input);

}  // namespace millrace::coordinator
