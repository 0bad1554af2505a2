#include "broker/metadata/controller.h"

#include "broker/metadata/metadata_codec.h"
#include "broker/metadata/plan.h"
#include "broker/metadata/turn.h"

namespace millrace::metadata {
namespace {

// How often a transaction is decided anew because somebody else changed what it compares.
constexpr int kMaxAttempts = 5;
// Of the broker's and the controller's keys; the embedded store doesn't look at it.
constexpr int64_t kLeaseTtlMs = 9'000;

}  // namespace

class Controller::Impl {
 public:
  Impl(MetadataStore& store, MetadataCache& cache, const StaticConfig& config, int32_t node_id,
       runtime::Random& random)
      : store_(store), cache_(cache), config_(config), node_id_(node_id), random_(random) {}

  runtime::Task<Result<>> start(BrokerRegistration registration);
  runtime::Task<> stop();
  runtime::Task<Result<ProducerIdBlock>> allocate_producer_ids();

  // Decides with `plan` (PlanContext -> Plan<R>), commits, and waits until every shard has what came of it.
  template <class R, class F>
  runtime::Task<std::vector<R>> execute(F plan, bool validate_only) {
    int64_t revision = 0;
    Plan<R> decided;
    {
      TurnQueue::Turn turn = co_await turns_.take();
      for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
        const ImagePtr image = cache_.newest();
        decided = plan(PlanContext{*image, config_, node_id_, random_});
        if (validate_only || decided.transaction.operations.empty()) break;
        const Result<TransactionResult> done = co_await commit(std::move(decided.transaction));
        const Error error = outcome(done, attempt);
        if (error.code == ErrorCode::kConcurrentTransactions) continue;
        if (error.code != ErrorCode::kNone) {
          for (size_t i : decided.changed) decided.results[i].error = error;
          break;
        }
        revision = done->revision;
        break;
      }
    }
    if (revision > 0) co_await cache_.applied(revision);
    co_return std::move(decided.results);
  }

 private:
  runtime::Task<Result<>> make_cluster_id();
  runtime::Task<Result<int64_t>> register_broker(BrokerRegistration registration);

  // Fenced by the controller's epoch. When it returns, newest() is at the store's revision.
  runtime::Task<Result<TransactionResult>> commit(Transaction transaction) {
    if (epoch_ == 0) co_return fail(ErrorCode::kNotController);
    transaction.compares.push_back({std::string(kControllerKey), Compare::Target::kCreateRevision, epoch_});
    Result<TransactionResult> done = co_await store_.commit(std::move(transaction));
    if (done) co_await cache_.folded(done->revision);
    co_return done;
  }

  // kNone, kConcurrentTransactions (decide again), or what to tell the caller.
  Error outcome(const Result<TransactionResult>& done, int attempt) const {
    if (!done) return done.error();
    if (done->succeeded) return {ErrorCode::kNone, {}};
    if (cache_.newest()->controller_epoch() != epoch_) {
      return {ErrorCode::kNotController, "another broker has become the controller"};
    }
    if (attempt + 1 < kMaxAttempts) return {ErrorCode::kConcurrentTransactions, {}};
    return {ErrorCode::kRequestTimedOut, "the metadata changed faster than this request could be decided"};
  }

  MetadataStore& store_;
  MetadataCache& cache_;
  const StaticConfig& config_;
  const int32_t node_id_;
  runtime::Random& random_;
  TurnQueue turns_;
  LeaseId lease_ = kNoLease;
  int64_t epoch_ = 0;  // 0: not the controller
};

runtime::Task<Result<>> Controller::Impl::make_cluster_id() {
  const Result<std::optional<KeyValue>> found = co_await store_.get(std::string(kClusterKey));
  if (!found) co_return std::unexpected(found.error());
  if (*found) co_return Result<>{};
  Transaction create;
  create.compares.push_back({std::string(kClusterKey), Compare::Target::kVersion, 0});
  create.operations.push_back(Operation::put(std::string(kClusterKey), encode_id(random_.uuid())));
  // If another broker was faster, its id is the cluster's.
  const Result<TransactionResult> done = co_await store_.commit(std::move(create));
  if (!done) co_return std::unexpected(done.error());
  co_return Result<>{};
}

runtime::Task<Result<int64_t>> Controller::Impl::register_broker(BrokerRegistration registration) {
  const Result<LeaseId> lease = co_await store_.grant_lease(kLeaseTtlMs);
  if (!lease) co_return std::unexpected(lease.error());
  lease_ = *lease;
  const BrokerImage broker{.id = node_id_,
                           .incarnation = random_.uuid(),
                           .endpoints = std::move(registration.endpoints),
                           .rack = std::move(registration.rack)};
  Transaction enter;
  enter.compares.push_back({broker_key(node_id_), Compare::Target::kVersion, 0});
  enter.compares.push_back({std::string(kControllerKey), Compare::Target::kVersion, 0});
  enter.operations.push_back(Operation::put(broker_key(node_id_), encode_broker(broker), lease_));
  enter.operations.push_back(
      Operation::put(std::string(kControllerKey), encode_controller(node_id_), lease_));
  const Result<TransactionResult> done = co_await store_.commit(std::move(enter));
  if (!done) co_return std::unexpected(done.error());
  if (!done->succeeded) {
    co_return fail(ErrorCode::kNotController,
                   "another broker holds the controller's lease or this broker's id");
  }
  epoch_ = done->revision;
  co_return done->revision;
}

runtime::Task<Result<>> Controller::Impl::start(BrokerRegistration registration) {
  if (Result<> made = co_await make_cluster_id(); !made) co_return made;
  const Result<int64_t> revision = co_await register_broker(std::move(registration));
  if (!revision) co_return std::unexpected(revision.error());
  const bool applied = co_await cache_.applied(*revision);
  if (!applied) co_return fail(ErrorCode::kOperationNotAttempted, "the broker is stopping");
  co_return Result<>{};
}

runtime::Task<> Controller::Impl::stop() {
  TurnQueue::Turn turn = co_await turns_.take();
  epoch_ = 0;
  if (lease_ != kNoLease) co_await store_.revoke_lease(lease_);
  lease_ = kNoLease;
}

runtime::Task<Result<ProducerIdBlock>> Controller::Impl::allocate_producer_ids() {
  TurnQueue::Turn turn = co_await turns_.take();
  for (int attempt = 0;; ++attempt) {
    const int64_t first = cache_.newest()->next_producer_id();
    if (first > kMaxLong - kProducerIdBlockSize) {
      co_return fail(ErrorCode::kUnknownServerError, "there are no producer ids left");
    }
    Transaction take;
    take.operations.push_back(
        Operation::put(std::string(kProducerIdsKey), encode_producer_ids(first + kProducerIdBlockSize)));
    const Result<TransactionResult> done = co_await commit(std::move(take));
    const Error error = outcome(done, attempt);
    if (error.code == ErrorCode::kNone) co_return ProducerIdBlock{first, kProducerIdBlockSize};
    if (error.code != ErrorCode::kConcurrentTransactions) co_return std::unexpected(error);
  }
}

Controller::Controller(MetadataStore& store, MetadataCache& cache, const StaticConfig& config,
                       int32_t node_id, runtime::Random& random)
    : impl_(std::make_unique<Impl>(store, cache, config, node_id, random)) {}
Controller::~Controller() = default;

runtime::Task<Result<>> Controller::start(BrokerRegistration registration) {
  return impl_->start(std::move(registration));
}

runtime::Task<> Controller::stop() { return impl_->stop(); }

runtime::Task<std::vector<CreateTopicResult>> Controller::create_topics(std::vector<NewTopic> topics,
                                                                        bool validate_only) {
  auto plan = [&topics](const PlanContext& context) { return plan_create_topics(context, topics); };
  co_return co_await impl_->execute<CreateTopicResult>(plan, validate_only);
}

runtime::Task<std::vector<DeleteTopicResult>> Controller::delete_topics(std::vector<DeleteTopic> topics) {
  auto plan = [&topics](const PlanContext& context) { return plan_delete_topics(context, topics); };
  co_return co_await impl_->execute<DeleteTopicResult>(plan, false);
}

runtime::Task<std::vector<TopicResult>> Controller::create_partitions(std::vector<NewPartitions> topics,
                                                                      bool validate_only) {
  auto plan = [&topics](const PlanContext& context) { return plan_create_partitions(context, topics); };
  co_return co_await impl_->execute<TopicResult>(plan, validate_only);
}

runtime::Task<std::vector<AlterResult>> Controller::alter_configs(std::vector<AlterResource> resources,
                                                                  bool validate_only) {
  auto plan = [&resources](const PlanContext& context) {
    return plan_alter_configs(context, resources, false);
  };
  co_return co_await impl_->execute<AlterResult>(plan, validate_only);
}

runtime::Task<std::vector<AlterResult>> Controller::replace_configs(std::vector<AlterResource> resources,
                                                                    bool validate_only) {
  auto plan = [&resources](const PlanContext& context) {
    return plan_alter_configs(context, resources, true);
  };
  co_return co_await impl_->execute<AlterResult>(plan, validate_only);
}

runtime::Task<Result<ProducerIdBlock>> Controller::allocate_producer_ids() {
  return impl_->allocate_producer_ids();
}

}  // namespace millrace::metadata
