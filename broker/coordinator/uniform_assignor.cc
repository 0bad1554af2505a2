#include <algorithm>
#include <queue>
#include <tuple>
#include <utility>

#include "broker/coordinator/assignor.h"

namespace millrace::coordinator {
namespace {

constexpr int kNobody = -1;
// Moving partitions to and fro between overlapping subscriptions gets ever closer to balance; as in Kafka, it
// is good enough after this many rounds.
constexpr int kMaxBalancingRounds = 16;

class UniformAssignment {
 public:
  explicit UniformAssignment(const AssignorInput& input) : input_(input), sizes_(input.members.size()) {
    for (size_t m = 0; m < input.members.size(); ++m) {
      for (const Uuid& topic : *input.members[m].topics) topics_[topic].subscribers.push_back(m);
    }
    for (auto& [id, topic] : topics_) {
      topic.owners.assign(static_cast<size_t>(std::max(input.partitions.at(id), 0)), kNobody);
    }
    keep_what_is_theirs();
  }

  std::vector<Assignment> make() {
    all_subscribe_the_same() ? share_evenly() : share_by_subscription();
    std::vector<Assignment> result(input_.members.size());
    for (const auto& [id, topic] : topics_) {
      for (size_t p = 0; p < topic.owners.size(); ++p) {
        if (topic.owners[p] == kNobody) continue;
        std::set<int32_t>& partitions = result[static_cast<size_t>(topic.owners[p])][id];
        partitions.insert(partitions.end(), static_cast<int32_t>(p));
      }
    }
    return result;
  }

 private:
  struct Topic {
    std::vector<size_t> subscribers;
    std::vector<int> owners;  // by partition
  };

  void give(Topic& topic, size_t partition, size_t member) {
    topic.owners[partition] = static_cast<int>(member);
    ++sizes_[member];
  }
  void take(Topic& topic, size_t partition) {
    --sizes_[static_cast<size_t>(std::exchange(topic.owners[partition], kNobody))];
  }

  void keep_what_is_theirs() {
    for (size_t m = 0; m < input_.members.size(); ++m) {
      const AssignorInput::Member& member = input_.members[m];
      if (member.target == nullptr) continue;
      for (const auto& [id, partitions] : *member.target) {
        if (!member.topics->contains(id)) continue;
        Topic& topic = topics_.at(id);
        for (const int32_t partition : partitions) {
          const auto p = static_cast<size_t>(partition);
          if (partition >= 0 && p < topic.owners.size() && topic.owners[p] == kNobody) give(topic, p, m);
        }
      }
    }
  }

  bool all_subscribe_the_same() const {
    return std::ranges::all_of(
        topics_, [&](const auto& entry) { return entry.second.subscribers.size() == input_.members.size(); });
  }

  // Every member gets the same number, some one more: first those that have it already.
  void share_evenly() {
    size_t total = 0;
    for (const auto& [id, topic] : topics_) total += topic.owners.size();
    const size_t members = input_.members.size();
    const size_t least = total / members;
    size_t with_one_more = total % members;
    std::vector<size_t> quota(members, least);
    for (const bool has_more : {true, false}) {
      for (size_t m = 0; m < members && with_one_more > 0; ++m) {
        if ((sizes_[m] > least) != has_more) continue;
        ++quota[m];
        --with_one_more;
      }
    }
    for (auto& [id, topic] : topics_) {
      for (size_t p = topic.owners.size(); p-- > 0;) {
        if (topic.owners[p] == kNobody) continue;
        const auto owner = static_cast<size_t>(topic.owners[p]);
        if (sizes_[owner] > quota[owner]) take(topic, p);
      }
    }
    size_t next = 0;
    for (auto& [id, topic] : topics_) {
      for (size_t p = 0; p < topic.owners.size(); ++p) {
        if (topic.owners[p] != kNobody) continue;
        while (sizes_[next] >= quota[next]) ++next;
        give(topic, p, next);
      }
    }
  }

  // Topics that leave the least choice come first.
  std::vector<Topic*> by_scarcity() {
    std::vector<std::pair<const Uuid*, Topic*>> order;
    for (auto& [id, topic] : topics_) order.emplace_back(&id, &topic);
    std::ranges::sort(order, {}, [](const auto& entry) {
      const Topic& topic = *entry.second;
      const auto subscribers = static_cast<double>(topic.subscribers.size());
      return std::tuple(-static_cast<double>(topic.owners.size()) / subscribers, subscribers, *entry.first);
    });
    std::vector<Topic*> topics;
    for (const auto& [id, topic] : order) topics.push_back(topic);
    return topics;
  }

  void share_by_subscription() {
    const std::vector<Topic*> topics = by_scarcity();
    for (Topic* topic : topics) hand_out(*topic);
    for (int round = 0; round < kMaxBalancingRounds; ++round) {
      bool moved = false;
      for (Topic* topic : topics) moved |= balance(*topic);
      if (!moved) return;
    }
  }

  void hand_out(Topic& topic) {
    std::priority_queue<std::pair<size_t, size_t>, std::vector<std::pair<size_t, size_t>>, std::greater<>>
        least_loaded;
    for (const size_t m : topic.subscribers) least_loaded.emplace(sizes_[m], m);
    for (size_t p = 0; p < topic.owners.size(); ++p) {
      if (topic.owners[p] != kNobody) continue;
      const size_t member = least_loaded.top().second;
      least_loaded.pop();
      give(topic, p, member);
      least_loaded.emplace(sizes_[member], member);
    }
  }

  // Moves partitions of one topic from those of its subscribers that have the most in all to those that have
  // the least.
  bool balance(Topic& topic) {
    std::vector<std::vector<size_t>> owned(input_.members.size());
    for (size_t p = 0; p < topic.owners.size(); ++p) {
      owned[static_cast<size_t>(topic.owners[p])].push_back(p);
    }
    bool moved = false;
    while (true) {
      size_t least = topic.subscribers.front();
      std::optional<size_t> most;
      for (const size_t m : topic.subscribers) {
        if (sizes_[m] < sizes_[least]) least = m;
        if (!owned[m].empty() && (!most || sizes_[m] > sizes_[*most])) most = m;
      }
      if (!most || sizes_[*most] < sizes_[least] + 2) return moved;
      const size_t partition = owned[*most].back();
      owned[*most].pop_back();
      owned[least].push_back(partition);
      take(topic, partition);
      give(topic, partition, least);
      moved = true;
    }
  }

  const AssignorInput& input_;
  std::vector<size_t> sizes_;  // partitions of each member
  std::map<Uuid, Topic> topics_;
};

}  // namespace

std::vector<Assignment> assign_uniform(const AssignorInput& input) {
  if (input.members.empty()) return {};
  return UniformAssignment(input).make();
}

}  // namespace millrace::coordinator
