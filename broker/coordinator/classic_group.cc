#include "broker/coordinator/classic_group.h"

#include <algorithm>
#include <cassert>

#include "broker/coordinator/consumer_subscription.h"
#include "broker/coordinator/group_memory.h"

namespace millrace::coordinator {

std::string_view state_name(GroupState state) {
  switch (state) {
    case GroupState::kEmpty:
      return "Empty";
    case GroupState::kPreparingRebalance:
      return "PreparingRebalance";
    case GroupState::kCompletingRebalance:
      return "CompletingRebalance";
    case GroupState::kStable:
      return "Stable";
  }
  return "Dead";
}

bool ClassicMember::matches(const std::vector<JoinGroup::Protocol>& requested) const {
  return std::ranges::equal(
      protocols, requested, [](const Protocol& mine, const JoinGroup::Protocol& theirs) {
        return mine.name == theirs.name && std::ranges::equal(mine.metadata, theirs.metadata);
      });
}

int64_t ClassicMember::bytes() const {
  size_t bytes = sizeof(*this) + 2 * kNodeBytes + 4 * text_bytes(id) + text_bytes(client_id) +
                 text_bytes(client_host) + assignment.size();
  if (instance) bytes += kNodeBytes + 2 * text_bytes(*instance);
  for (const Protocol& protocol : protocols)
    bytes += sizeof(protocol) + 2 * text_bytes(protocol.name) + protocol.metadata.size();
  return static_cast<int64_t>(bytes);
}

Bytes ClassicMember::metadata(std::string_view protocol) const {
  for (const Protocol& mine : protocols) {
    if (mine.name == protocol) return mine.metadata;
  }
  return {};
}

ClassicGroup::ClassicGroup(const StoredGroup& stored)
    : state(stored.members.empty() ? GroupState::kEmpty : GroupState::kStable),
      previous_state(state),
      state_timestamp_ms(stored.state_timestamp_ms),
      generation(stored.generation),
      protocol(stored.protocol),
      leader(stored.leader) {
  if (!stored.protocol_type.empty()) protocol_type = stored.protocol_type;
  for (const StoredMember& from : stored.members) {
    if (members_.contains(from.member_id)) continue;
    if (from.instance_id && static_members_.contains(*from.instance_id)) continue;
    auto member = std::make_unique<ClassicMember>();
    member->id = from.member_id;
    member->instance = from.instance_id;
    member->client_id = from.client_id;
    member->client_host = from.client_host;
    member->session_timeout_ms = from.session_timeout_ms;
    member->rebalance_timeout_ms =
        from.rebalance_timeout_ms < 0 ? from.session_timeout_ms : from.rebalance_timeout_ms;
    member->protocols.push_back({stored.protocol.value_or(""), from.subscription});
    member->assignment = from.assignment;
    add(std::move(member));
  }
  if (leader && !members_.empty() && !members_.contains(*leader)) leader = members_.begin()->first;
  refresh_subscription();
}

ClassicMember* ClassicGroup::find(std::string_view id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : found->second.get();
}

ClassicMember* ClassicGroup::find_static(std::string_view instance) const {
  const auto found = static_members_.find(instance);
  return found == static_members_.end() ? nullptr : find(found->second);
}

ClassicMember& ClassicGroup::add(std::unique_ptr<ClassicMember> member) {
  assert(!members_.contains(member->id));
  if (member->instance) static_members_.emplace(*member->instance, member->id);
  if (!leader) leader = member->id;
  pending.erase(member->id);
  count_protocols(*member, 1);
  if (member->join_ticket) ++awaiting_join_;
  ClassicMember& added = *member;
  members_.emplace(added.id, std::move(member));
  count(added);
  return added;
}

void ClassicGroup::remove(std::string_view id) {
  const auto found = members_.find(id);
  if (const auto waiting = pending_sync.find(id); waiting != pending_sync.end()) pending_sync.erase(waiting);
  if (const auto unjoined = pending.find(id); unjoined != pending.end()) pending.erase(unjoined);
  if (found == members_.end()) return;
  const auto member = std::move(found->second);  // `id` may be a view of its name
  members_.erase(found);
  count_protocols(*member, -1);
  if (member->join_ticket) --awaiting_join_;
  if (member->instance) static_members_.erase(*member->instance);
  if (leader == member->id) {
    leader.reset();
    if (!members_.empty()) leader = members_.begin()->first;
  }
}

ClassicMember& ClassicGroup::rename(std::string_view instance, std::string new_id) {
  const auto found = static_members_.find(instance);
  assert(found != static_members_.end());
  auto node = members_.extract(found->second);
  ClassicMember& member = *node.mapped();
  assert(!member.join_ticket && !member.sync_ticket);
  if (leader == member.id) leader = new_id;
  if (pending_sync.erase(member.id) > 0) pending_sync.insert(new_id);
  member.id = new_id;
  node.key() = new_id;
  members_.insert(std::move(node));
  found->second = std::move(new_id);
  count(member);
  return member;
}

void ClassicGroup::update(ClassicMember& member, std::vector<ClassicMember::Protocol> protocols,
                          int32_t rebalance_timeout_ms, int32_t session_timeout_ms) {
  count_protocols(member, -1);
  member.protocols = std::move(protocols);
  count_protocols(member, 1);
  member.rebalance_timeout_ms = rebalance_timeout_ms;
  member.session_timeout_ms = session_timeout_ms;
  count(member);
}

void ClassicGroup::set_assignment(ClassicMember& member, Buffer assignment) {
  member.assignment = std::move(assignment);
  count(member);
}

void ClassicGroup::set_join_ticket(ClassicMember& member, std::optional<uint64_t> ticket) {
  if (member.join_ticket) --awaiting_join_;
  member.join_ticket = ticket;
  if (member.join_ticket) ++awaiting_join_;
}

void ClassicGroup::transition(GroupState to, int64_t now_ms) {
  previous_state = state;
  state = to;
  state_timestamp_ms = now_ms;
}

void ClassicGroup::next_generation(int64_t now_ms) {
  // Generations stay positive: a negative one means "none" on the wire.
  generation = generation == INT32_MAX ? 1 : generation + 1;
  pending_sync.clear();
  if (members_.empty()) {
    protocol.reset();
    transition(GroupState::kEmpty, now_ms);
  } else {
    protocol = select_protocol();
    transition(GroupState::kCompletingRebalance, now_ms);
  }
  refresh_subscription();
}

bool ClassicGroup::elect_joined_leader() {
  const ClassicMember* current = leader ? find(*leader) : nullptr;
  if (current == nullptr) return false;
  if (current->join_ticket) return true;
  for (const auto& [id, member] : members_) {
    if (!member->join_ticket) continue;
    leader = id;
    return true;
  }
  return false;
}

int32_t ClassicGroup::rebalance_timeout_ms() const {
  int32_t longest = 0;
  for (const auto& [id, member] : members_) longest = std::max(longest, member->rebalance_timeout_ms);
  return longest;
}

bool ClassicGroup::supports(std::string_view type, const std::vector<JoinGroup::Protocol>& protocols) const {
  if (state == GroupState::kEmpty) return !type.empty() && !protocols.empty();
  if (protocol_type != type) return false;
  return std::ranges::any_of(protocols, [&](const JoinGroup::Protocol& protocol) {
    const auto found = supported_.find(protocol.name);
    return (found == supported_.end() ? 0 : found->second) == members_.size();
  });
}

std::string ClassicGroup::select_protocol() const {
  std::map<std::string_view, size_t> votes;
  for (const auto& [id, member] : members_) {
    for (const ClassicMember::Protocol& choice : member->protocols) {
      const auto found = supported_.find(choice.name);
      if (found == supported_.end() || found->second != members_.size()) continue;
      ++votes[choice.name];
      break;
    }
  }
  const auto most = std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
  return most == votes.end() ? std::string() : std::string(most->first);
}

bool ClassicGroup::subscribes(std::string_view topic) const {
  return subscribed_ ? subscribed_->contains(topic) : uses_consumer_protocol();
}

StoredGroup ClassicGroup::stored() const {
  StoredGroup out{protocol_type.value_or(""), generation, protocol, leader, state_timestamp_ms, {}};
  out.members.reserve(members_.size());
  for (const auto& [id, member] : members_) {
    const Bytes subscription = member->metadata(protocol.value_or(""));
    out.members.push_back({id, member->instance, member->client_id, member->client_host,
                           member->rebalance_timeout_ms, member->session_timeout_ms,
                           Buffer(subscription.begin(), subscription.end()), member->assignment});
  }
  return out;
}

void ClassicGroup::count(ClassicMember& member) {
  member.held.join(held);
  member.held.set(member.bytes());
}

void ClassicGroup::count_protocols(const ClassicMember& member, int by) {
  for (const ClassicMember::Protocol& protocol : member.protocols) {
    const auto found = supported_.try_emplace(protocol.name, 0).first;
    found->second += static_cast<size_t>(by);
    if (found->second == 0) supported_.erase(found);
  }
}

void ClassicGroup::refresh_subscription() {
  subscribed_.reset();
  subscribed_held_.join(held);
  subscribed_held_.set(0);
  if (!uses_consumer_protocol()) return;
  if (!members_.empty() && !protocol) return;
  std::set<std::string, std::less<>> topics;
  for (const auto& [id, member] : members_) {
    const auto wanted = subscribed_topics(member->metadata(*protocol));
    if (!wanted) return;
    topics.insert(wanted->begin(), wanted->end());
  }
  subscribed_ = std::move(topics);
  subscribed_held_.set(static_cast<int64_t>(names_bytes(*subscribed_)));
}

}  // namespace millrace::coordinator
