"""Trains the classifier on the sums."""
import mindspore as ms
from mindspore import mint, ops

from dataset import loader
from model.ibert_like import IBertLikeConfig, IBertLikeForSequenceClassification


def train(epochs=2, lr=1e-3, path="ibert_like.ckpt"):
    ms.manual_seed(0)
    model = IBertLikeForSequenceClassification(IBertLikeConfig())
    optimizer = mint.optim.AdamW(model.trainable_params(), lr=lr)
    criterion = mint.nn.CrossEntropyLoss()
    model.set_train(True)
    for epoch in range(epochs):
        total = 0.0
        for input_ids, labels in loader():
            def forward_fn():
                logits = model(input_ids)
                loss = criterion(logits, labels)
                return loss

            loss, grads = ms.value_and_grad(forward_fn, None, optimizer.parameters)()
            grads = ops.clip_by_global_norm(grads, 1.0)
            optimizer(grads)
            total += loss.item()
        print(f"epoch {epoch}: {total:.4f}")
    ms.save_checkpoint(model, path)


if __name__ == "__main__":
    train()
