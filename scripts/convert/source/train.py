"""Trains the classifier on the sums."""
import torch
from torch.nn.utils import clip_grad_norm_

from dataset import loader
from model.ibert_like import IBertLikeConfig, IBertLikeForSequenceClassification


def train(epochs=2, lr=1e-3, path="ibert_like.ckpt"):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = IBertLikeForSequenceClassification(IBertLikeConfig()).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    criterion = torch.nn.CrossEntropyLoss()
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for input_ids, labels in loader():
            input_ids, labels = input_ids.to(device), labels.to(device)
            optimizer.zero_grad()
            logits = model(input_ids)
            loss = criterion(logits, labels)
            loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: {total:.4f}")
    torch.save(model.state_dict(), path)


if __name__ == "__main__":
    train()
